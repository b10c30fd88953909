import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { ownEnvironment } from '../../src/config/load.ts';
import { createEngine } from '../../src/inference/create-engine.ts';
import type { JobPayload } from '../../src/jobs/catalog.ts';
import { createGenerateHandler } from '../../src/jobs/generate.ts';
import { PutOff } from '../../src/jobs/run-job.ts';
import type { JobContext } from '../../src/jobs/workers.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { drawPrompts } from '../../src/prompts/draw-prompts.ts';
import type { JobProgress } from '../../src/queue/queue.ts';
import { openLocalStore } from '../../src/store/local.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';
import { defaultStore } from '../suites/store-samples.ts';

const PROMPTS = Array.from({ length: 30 }, (_, index) => `Name ${index + 2} rivers.`);
const logger = createLogger({ level: 'silent' });

async function setUp(t: Test, { shared = false, now = Date.now } = {}) {
  const root = t.testdir({});
  const bundle = await buildUntrainedBundle({ out: join(root, 'bundle'), seed: 0 });
  const { id: model, condition } = { ...bundle.manifest };
  const engine = await createEngine({
    device: 'cpu',
    encodeTokenBudget: 8192,
    batchWaitMs: 0,
    promptCacheBytes: 1 << 24,
    cancelGraceMs: 1000,
    environment: ownEnvironment(),
    logger,
  });
  t.teardown(() => engine.close());
  const store = defaultStore(await openLocalStore({ directory: join(root, 'store') }));
  const metrics = createMetrics();
  const models = { withDigest: (digest: string) => (digest === bundle.digest ? bundle : undefined) };
  const handler = createGenerateHandler({
    engine,
    models,
    store: store.all,
    metrics,
    logger,
    logPrompts: false,
    shared,
    now,
  });

  const payload = (count: number, seed: number, adapterIds: string[]): JobPayload<'generate'> => ({
    model,
    bundleDigest: bundle.digest,
    ...drawPrompts({ given: PROMPTS, wanted: condition.prompts, count, seed }),
    adapterIds,
    seed,
    dtype: 'bf16',
    acceptedAt: Date.now(),
    retentionSeconds: 60,
    priority: 5,
    fingerprint: 'x',
  });
  const run = (body: JobPayload<'generate'>, more: Partial<JobContext<'generate'>> = {}) =>
    handler({
      tenant: 'default',
      id: 'job',
      payload: body,
      attempt: 1,
      signal: new AbortController().signal,
      report: () => {},
      ...more,
    });
  const weights = (id: string) => readFile(join(store.location(id), 'adapter_model.safetensors'));
  return { run, payload, store, weights, metrics, bundle };
}

test('a job’s prompts become published adapters, with progress and facts', async (t) => {
  const { run, payload, store, weights, metrics } = await setUp(t);
  const seen: Omit<JobProgress, 'sequence'>[] = [];
  const result = await run(payload(2, 1, ['a-0', 'a-1']), { report: (progress) => void seen.push(progress) });
  t.match(result, {
    adapters: [{ id: 'a-0', tensors: 420, parameters: 2_442_240, fromStore: false }, { id: 'a-1' }],
    device: 'cpu',
  });
  t.equal(sha256(await weights('a-0')), result.adapters[0]?.sha256);
  t.ok(result.timings.decodingMs > 0 && result.timings.totalMs >= result.timings.decodingMs);
  t.match(await store.find('a-1'), { info: { index: 1, trained: false, rank: 8, seed: 1 } });
  t.strictSame([...new Set(seen.map(({ stage }) => stage))], ['loading', 'embedding', 'decoding', 'writing']);
  for (const [index, { fraction }] of seen.entries()) {
    t.ok(fraction >= (seen[index - 1]?.fraction ?? 0) && fraction <= 1, 'progress never falls');
  }
  t.match(
    await metrics.render(),
    /loradrop_adapters_total\{model="smollm2-135m-untrained",source="decoder"\} 2/,
  );
});

test('a run after one that was cut off keeps what was published and gives the same bytes', async (t) => {
  const { run, payload, store, weights } = await setUp(t);
  const body = payload(2, 2, ['b-0', 'b-1']);
  const stop = new AbortController();
  const report = ({ adapter }: { adapter: number }) => {
    if (adapter === 1) stop.abort(new Error('cut off'));
  };
  await t.rejects(run(body, { signal: stop.signal, report }), { message: 'cut off' });
  const before = await weights('b-0');
  t.equal(await store.find('b-1'), undefined, 'the second was not published');
  const again = await run(body, { attempt: 2 });
  t.strictSame(
    again.adapters.map(({ fromStore }) => fromStore),
    [true, false],
  );
  t.ok(before.equals(await weights('b-0')));

  // The same draw under other ids: from the store, and anew once the store has lost it.
  const repeat = await run({ ...body, adapterIds: ['c-0', 'c-1'] });
  t.strictSame(
    repeat.adapters.map(({ fromStore }) => fromStore),
    [true, true],
  );
  for (const id of ['b-0', 'b-1', 'c-0', 'c-1']) await store.remove(id);
  const anew = await run({ ...body, adapterIds: ['d-0', 'd-1'] });
  t.strictSame(
    anew.adapters.map(({ fromStore }) => fromStore),
    [false, false],
  );
  t.strictSame(
    anew.adapters.map(({ sha256 }) => sha256),
    again.adapters.map(({ sha256 }) => sha256),
  );
});

test('a bundle that was replaced since acceptance is refused', async (t) => {
  const { run, payload, store } = await setUp(t);
  await t.rejects(run({ ...payload(1, 3, ['e-0']), bundleDigest: sha256('another') }), {
    code: 'bundle-changed',
  });
  t.equal(await store.find('e-0'), undefined);
});

test('where others share the queue, a job waits for a worker that has its bundle', async (t) => {
  const clock = { now: 1_000_000 };
  const { run, payload } = await setUp(t, { shared: true, now: () => clock.now });
  const body = { ...payload(1, 3, ['f-0']), bundleDigest: sha256('another'), acceptedAt: clock.now };
  const waitMs = (attempt: number, more = {}) =>
    run({ ...body, ...more }, { attempt }).then(
      () => t.fail('it has run'),
      (error) => (error instanceof PutOff ? error.at - clock.now : error),
    );
  t.same(await Promise.all([1, 2, 3, 40].map((attempt) => waitMs(attempt))), [500, 1000, 2000, 10_000]);
  t.equal(await waitMs(40, { deadlineAt: clock.now + 300 }), 300, 'it is looked at again at its deadline');
  clock.now += 23 * 3_600_000;
  t.equal(await waitMs(40), 10_000, 'adapters that are kept for a minute do not shorten it');
  clock.now += 3_600_000;
  t.match(await waitMs(41), { code: 'bundle-changed' }, 'in the end nobody is left to hope for');
  t.equal(
    await waitMs(41, { retentionSeconds: 7 * 86_400 }),
    10_000,
    'longer, where they are kept for longer',
  );
});

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { openGguf } from '../../src/adapter/convert-gguf.ts';
import { spreadOfSamples } from '../../src/arithmetic/distances.ts';
import { sha256 } from '../../src/base/digest.ts';
import { ownEnvironment } from '../../src/config/load.ts';
import { createEngine } from '../../src/inference/create-engine.ts';
import type { AdapterInfo } from '../../src/jobs/adapter-info.ts';
import type { JobPayload } from '../../src/jobs/catalog.ts';
import { createGenerateHandler } from '../../src/jobs/generate.ts';
import { createPatientDrafts } from '../../src/jobs/patient-drafts.ts';
import { PutOff } from '../../src/jobs/run-job.ts';
import { openStoredPeft } from '../../src/jobs/stored-peft.ts';
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
  const models = {
    withDigest: (digest: string) => (digest === bundle.digest ? bundle : undefined),
    list: () => [bundle],
  };
  const handler = createGenerateHandler({
    engine,
    models,
    store: store.all,
    drafts: createPatientDrafts({ maxBytes: 1 << 26, storeReady: () => store.ready() }),
    storeReady: () => store.ready(),
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
      isOver: async () => false,
      report: () => {},
      ...more,
    });
  const weights = (id: string) => readFile(join(store.location(id), 'adapter_model.safetensors'));
  return { run, payload, store, weights, metrics, bundle };
}

test('a job’s prompts become published adapters, with progress and facts', async (t) => {
  const { run, payload, store, weights, metrics, bundle } = await setUp(t);
  const seen: Omit<JobProgress, 'sequence'>[] = [];
  const result = await run(payload(2, 1, ['a-0', 'a-1']), { report: (progress) => void seen.push(progress) });
  t.match(result, {
    adapters: [{ id: 'a-0', tensors: 420, parameters: 2_442_240, fromStore: false }, { id: 'a-1' }],
    device: 'cpu',
  });
  t.equal(sha256(await weights('a-0')), result.adapters[0]?.sha256);
  t.ok(result.timings.decodingMs > 0 && result.timings.totalMs >= result.timings.decodingMs);
  t.match(await store.find('a-1'), {
    info: { index: 1, trained: false, rank: 8, seed: 1, licence: bundle.manifest.licence, warnings: [] },
  });
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
  const named = { ...payload(1, 2, ['b-2']), name: 'rivers', setName: 'rivers' };
  t.match(await run(named), { adapters: [{ id: 'b-2', fromStore: true }] });
  t.match(
    await store.names.find('rivers'),
    { current: { adapter: 'b-2' } },
    'the name that was asked for is set',
  );

  // The same draw under other ids: from the store, and anew once the store has lost it.
  const repeat = await run({ ...body, adapterIds: ['c-0', 'c-1'] });
  t.strictSame(
    repeat.adapters.map(({ fromStore }) => fromStore),
    [true, true],
  );
  for (const id of ['b-0', 'b-1', 'b-2', 'c-0', 'c-1']) await store.remove(id);
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

test('one adapter is kept of several samples: the central one, or their mean', async (t) => {
  const { run, payload, store, weights } = await setUp(t);
  const plain = await run(payload(3, 4, ['f-0', 'f-1', 'f-2']));
  const body = { ...payload(3, 4, []), sampleIds: ['s--0', 's--1', 's--2'] };
  const seen: number[] = [];
  const central = await run(
    { ...body, adapterIds: ['central'], keep: 'central' },
    { report: ({ fraction }) => void seen.push(fraction) },
  );
  t.strictSame(
    seen,
    [...seen].sort((p, q) => p - q),
    'progress never falls',
  );
  const spread = await spreadOfSamples(
    await Promise.all(plain.adapters.map(async ({ id }) => openStoredPeft(store, (await store.find(id))!))),
  );
  t.equal(central.adapters.length, 1);
  t.ok((await weights('central')).equals(await weights(`f-${spread.central}`)));
  const { transform } = (await store.find('central'))!.info as AdapterInfo;
  t.match(transform, { keep: 'central', steps: [], energyKept: 1 });
  for (const [index, share] of spread.fromMean.entries()) {
    t.ok(share > 0 && Math.abs(transform!.samples![index]! / share - 1) < 1e-5);
  }

  const mean = await run({ ...body, adapterIds: ['mean'], keep: 'mean' });
  const { info } = (await store.find('mean'))!;
  t.match(info, { rank: 8, alpha: 16, dtype: 'bf16', transform: { keep: 'mean', steps: [{ to: 8 }] } });
  const { fromMean } = await spreadOfSamples(
    await Promise.all(
      [...plain.adapters, ...mean.adapters].map(async ({ id }) =>
        openStoredPeft(store, (await store.find(id))!),
      ),
    ),
  );
  t.ok(fromMean[3]! < Math.min(...fromMean.slice(0, 3)), 'the mean is nearest to the mean');
  for (const id of body.sampleIds) t.equal(await store.find(id), undefined, 'samples are gone');

  const again = await run({ ...body, adapterIds: ['mean'], keep: 'mean' });
  t.equal(again.adapters[0]?.fromStore, true);
  t.equal(again.adapters[0]?.sha256, mean.adapters[0]?.sha256);
});

test('a job that asks for GGUF keeps what converting the stored safetensors gives', async (t) => {
  const { run, payload, store, bundle } = await setUp(t);
  t.same(bundle.manifest.base.heads, { heads: 9, kvHeads: 3 }, 'import writes the heads of a known base');
  const target = { architecture: 'llama', heads: { heads: 9, kvHeads: 3 } };
  const check = async (id: string) => {
    const adapter = (await store.find(id))!;
    t.strictSame(
      adapter.files.map(({ name }) => name),
      ['adapter_model.safetensors', 'adapter.gguf', 'adapter_config.json'],
      id,
    );
    const conversion = { dtype: 'f16', target } as const;
    const file = await openGguf(await openStoredPeft(store, adapter), conversion);
    await writeFile(join(store.location(id), 'converted'), await file.read());
    const [kept, made] = await Promise.all(
      ['adapter.gguf', 'converted'].map((name) => readFile(join(store.location(id), name))),
    );
    t.ok(kept!.equals(made!), `${id}: byte for byte`);
    t.equal(adapter.files[1]!.sha256, sha256(kept!));
  };
  await run(payload(1, 6, ['plain']));
  t.match(await store.find('plain'), { info: target, files: { length: 2 } });
  const body = { ...payload(1, 6, ['h-0']), format: 'gguf' as const };
  t.match(await run(body), { adapters: [{ fromStore: false }] }, 'one without the file is no equal');
  await check('h-0');
  t.match(await run({ ...body, adapterIds: ['h-1'] }), { adapters: [{ fromStore: true }] });
  await check('h-1');

  const few = [
    { type: 'modules', keep: 20 },
    { type: 'rank', to: 4 },
  ] as const;
  await run({ ...body, adapterIds: ['few'], sampleIds: ['h--2'], transform: [...few] });
  await check('few');
  t.match(await store.find('few'), { info: { ...target, tensors: 40 } });
  const sum = {
    ...payload(1, 0, ['half']),
    prompts: [],
    draws: [[]],
    sources: [{ id: 'plain', weight: 0.5 }],
    transform: [],
  };
  await run(sum);
  t.match(await run({ ...sum, adapterIds: ['half-gguf'], format: 'gguf' }), {
    adapters: [{ fromStore: false }],
  });
  await check('half-gguf');
  t.match(await run({ ...sum, adapterIds: ['more'], format: 'gguf' }), { adapters: [{ fromStore: true }] });
  await check('more');
});

test('each generated adapter takes the steps, and others are made of stored ones', async (t) => {
  const { run, payload, store, bundle } = await setUp(t);
  const steps = [{ type: 'rank', to: 2 } as const];
  const body = { ...payload(2, 5, ['g-0', 'g-1']), transform: steps, sampleIds: ['g--2', 'g--3'] };
  const result = await run(body);
  t.match(result.adapters, [
    { id: 'g-0', parameters: 2_442_240 / 4 },
    { id: 'g-1', tensors: 420 },
  ]);
  t.match(await store.find('g-1'), { info: { rank: 2, alpha: 4, index: 1, transform: { steps } } });
  t.equal(await store.find('g--2'), undefined);

  const sum = {
    ...payload(1, 0, ['sum']),
    prompts: [],
    draws: [[]],
    sources: [
      { id: 'g-0', weight: 0.5 },
      { id: 'g-1', weight: 0.5 },
    ],
    transform: [{ type: 'scale', factor: 2 } as const],
  };
  // A job without prompts needs no bundle on its worker.
  const made = await run({ ...sum, bundleDigest: sha256('another') });
  t.match(made.adapters, [{ id: 'sum', fromStore: false }]);
  const [first, second] = result.adapters;
  t.match(await store.find('sum'), {
    info: {
      rank: 4,
      alpha: 8,
      bundleDigest: bundle.digest,
      trained: false,
      transform: {
        sources: [
          { id: 'g-0', sha256: first!.sha256 },
          { id: 'g-1', sha256: second!.sha256 },
        ],
      },
    },
  });
  t.match(await run({ ...sum, adapterIds: ['same'] }), { adapters: [{ fromStore: true }] });
  await store.remove('g-1');
  await t.rejects(run({ ...sum, adapterIds: ['late'] }), { code: 'adapter-not-found' });
  t.equal(await store.find('late'), undefined);
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

/** Validations of adapters with a real base, of a few thousand numbers, in a real process. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { safetensorsHeader, writeSafetensors } from '../../src/adapter/safetensors.ts';
import { sha256 } from '../../src/base/digest.ts';
import { validateAdapter } from '../../src/evaluation/validate.ts';
import { createValidateHandler, type ValidateServices } from '../../src/jobs/validate.ts';
import type { JobContext } from '../../src/jobs/workers.ts';
import { writeAdapterFiles } from '../../src/jobs/write-adapter-files.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { createMetrics } from '../../src/observability/metrics.ts';
import { openLocalStore } from '../../src/store/local.ts';
import { UPLOADED_FILE } from '../../src/store/uploads.ts';
import { logger } from '../helpers/generate-job.ts';
import { TINY_BASE_ID } from '../helpers/tiny-base.ts';
import { TINY_BASE, TINY_LAYOUT, tinyAdapter, tinyWeights, writeTinyGguf } from '../helpers/tiny-llama.ts';

const TENANT = 'team';
const { architecture, heads, kvHeads } = TINY_BASE;
const target = { architecture, heads: { heads, kvHeads } };
const row = (question: string, answer: string) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: question },
      { role: 'assistant', content: answer },
    ],
  });
const ROWS = Array.from({ length: 20 }, (_, index) => row(`Q${index}?`, index % 2 === 0 ? 'yes' : 'no')).join(
  '\n',
);

async function setUp(t: Test) {
  const directory = t.testdir({});
  const base = join(directory, 'tiny.gguf');
  await writeTinyGguf(base, tinyWeights(1));
  const store = await openLocalStore({ directory: join(directory, 'store') });
  const files = await openLocalStore({ directory: join(directory, 'files') });
  t.teardown(() => Promise.all([store.close(), files.close()]));
  const times = { createdAt: Date.now(), expiresAt: Date.now() + 600_000 };
  const publish = async (id: string, keepsGguf: boolean) => {
    const draft = await store.of(TENANT).draft(id);
    const tensors = loraTensors(TINY_LAYOUT);
    await writeAdapterFiles((name, content) => draft.write(name, content), {
      weights: writeSafetensors(tensors, tinyAdapter(5), { dtype: 'f32' }),
      weightBytes: safetensorsHeader(tensors, 'f32').totalBytes,
      config: peftConfig({ id: TINY_BASE_ID }, TINY_LAYOUT),
      ...(keepsGguf && { gguf: target }),
    });
    await draft.publish({ ...times, contentKey: sha256(id), info: { baseModel: TINY_BASE_ID, ...target } });
  };
  const upload = async (id: string, text: string) => {
    const draft = await files.of(TENANT).draft(id);
    await draft.write(UPLOADED_FILE, [Buffer.from(text)]);
    await draft.publish({ ...times, contentKey: sha256(id), info: { filename: 'x', purpose: 'fine-tune' } });
  };
  const validate: ValidateServices['validate'] = (request, options) =>
    validateAdapter({ ...request, threads: 1 }, { ...options, environment: process.env, logger });
  const metrics = createMetrics();
  const handler = createValidateHandler({
    store,
    files,
    models: { list: () => [] },
    bases: async () => [{ id: TINY_BASE_ID, path: base }],
    validate,
    metrics,
    logger,
  });
  const run = (changes: Partial<JobContext<'validate'>['payload']> = {}) =>
    handler({
      tenant: TENANT,
      id: 'v',
      attempt: 1,
      signal: new AbortController().signal,
      isOver: async () => false,
      report() {},
      payload: {
        jobId: 'ftjob-1',
        jobAcceptedAt: 1,
        adapterId: 'adapter',
        file: 'rows',
        base: TINY_BASE_ID,
        seed: 3,
        ...changes,
      },
    });
  return { directory, base, publish, upload, run, metrics };
}

test('an adapter is scored beside its base, as it is kept and as it is converted', async (t) => {
  const { publish, upload, run, metrics } = await setUp(t);
  await publish('adapter', true);
  await publish('converted', false);
  await upload('rows', ROWS);
  const result = await run();
  t.match(result, { outcome: 'measured', rows: 20, labelled: 20, verdict: String });
  if (result.outcome !== 'measured') return;
  const { base, adapter, difference } = result;
  t.ok(Math.abs(adapter.nll.value - base.nll.value - difference.nll.value) < 1e-9);
  t.not(adapter.nll.value, base.nll.value, 'the adapter changes what the base thinks');
  t.ok(base.accuracy, 'yes and no are taken for a choice');
  const converted = await run({ adapterId: 'converted' });
  t.match(converted, { adapter: { nll: { value: adapter.nll.value } } }, 'a conversion has the same numbers');
  const outcome = result.verdict.replace(' seen', '').replace(' ', '-');
  const rendered = await metrics.render();
  t.match(rendered, `loradrop_validations_total{outcome="${outcome}",code=""} 2`);
  t.match(rendered, 'loradrop_validation_seconds_count 2');
});

test('what cannot be measured is told, with the reason', async (t) => {
  const { publish, upload, run, base, directory, metrics } = await setUp(t);
  await publish('adapter', true);
  await upload('rows', ROWS);
  await upload('unlabelled', JSON.stringify({ messages: [{ role: 'user', content: 'Q?' }] }));
  await upload('long', row('x'.repeat(5000), 'y'));
  const reasons: [Parameters<typeof run>[0], RegExp][] = [
    [{ base: 'other/base' }, /no GGUF file of other\/base/],
    [{ adapterId: 'gone' }, /The adapter was deleted/],
    [{ file: 'gone' }, /The validation file was deleted/],
    [{ file: 'unlabelled' }, /nothing to score/],
    [{ file: 'long' }, /longer than is scored/],
  ];
  for (const [changes, reason] of reasons) t.match(await run(changes), { outcome: 'skipped', reason });
  const skipped = [
    ...(await metrics.render()).matchAll(
      /^loradrop_validations_total\{outcome="skipped",code="(.+)"\} (\d)/gm,
    ),
  ];
  t.strictSame(
    skipped.map(([, code, count]) => `${code} ${count}`),
    ['base-absent 1', 'adapter-deleted 1', 'file-deleted 1', 'evaluation-data-invalid 2'],
  );

  const rows = join(directory, 'rows.jsonl');
  await writeFile(rows, ROWS);
  const request = { base, adapter: base, rows, limit: 5, maxRowTokens: 200, seed: 1, threads: 1 };
  const options = {
    signal: new AbortController().signal,
    timeoutMs: 60_000,
    environment: process.env,
    logger,
  };
  await t.rejects(validateAdapter(request, options), { code: 'base-adapter-refused' });
  await t.rejects(validateAdapter(request, { ...options, timeoutMs: 1 }), { code: 'evaluation-ended' });
  const stopped = new AbortController();
  setTimeout(() => stopped.abort(new Error('stop')), 50);
  await t.rejects(validateAdapter(request, { ...options, signal: stopped.signal }), { message: 'stop' });
});

/** Fine-tuning with OpenAI's client on a fleet: API and worker are processes of their own, which share a queue and a store alone. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI, { toFile } from 'openai';
import { type Test, test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { changeSecretFile, withFirstSecret } from '../../src/webhooks/secret-file.ts';
import { type LoradropProcess, startLoradrop, until } from '../helpers/loradrop-process.ts';
import { findProgram, OPENAI_PYTHON, OPENAI_PYTHON_FILE, SMOLLM2 } from '../helpers/services.ts';
import { buildUntrainedBundle, UNTRAINED_BUNDLE_ID } from '../helpers/untrained-bundle.ts';
import { SECRET, startReceiver } from '../helpers/webhook-receiver.ts';

const run = promisify(execFile);
const ROWS = Array.from({ length: 12 }, (_, index) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: `Is ${index} even?` },
      { role: 'assistant', content: index % 2 === 0 ? 'yes' : 'no' },
    ],
  }),
).join('\n');
/** Without the base a validation is skipped, which the job tells. */
const hasBase = existsSync(SMOLLM2);
const python = existsSync(OPENAI_PYTHON_FILE) ? findProgram('python3') : undefined;

/** What the processes of a fleet share. */
export type FleetSettings = { readonly QUEUE_URL: string; readonly [name: string]: string };

/** Runs the cases on a queue and a store, or none where a server is missing. `directory` is the test's own. */
export function fineTuningSuite(
  name: string,
  open: (t: Test, directory: string) => Promise<FleetSettings | undefined>,
): void {
  test(`fine-tuning on ${name}`, { timeout: 600_000 }, async (t) => {
    const directory = t.testdir({});
    const settings = await open(t, directory);
    if (settings) await cases(t, directory, settings);
  });
}

async function cases(t: Test, directory: string, settings: FleetSettings): Promise<void> {
  const at = (name: string) => join(directory, name);
  await buildUntrainedBundle({ out: join(at('bundles'), 'untrained'), seed: 0 });
  await mkdir(at('bases'));
  if (hasBase) await symlink(SMOLLM2, join(at('bases'), 'SmolLM2-135M-Instruct.Q4_1.gguf'));
  await changeSecretFile(at('secrets.json'), (secrets) =>
    withFirstSecret(secrets, { owner: 'default', secret: SECRET, now: Date.now() }),
  );
  const receiver = await startReceiver();
  t.teardown(() => receiver.close());
  const start = (command: 'serve' | 'worker') =>
    startLoradrop(t, command, {
      DATA_DIR: at(command),
      BUNDLES_DIR: at('bundles'),
      BASES_DIR: at('bases'),
      WEBHOOK_SECRETS_FILE: at('secrets.json'),
      WEBHOOK_ALLOW: '127.0.0.1',
      ...settings,
    });
  const clientOf = ({ url }: LoradropProcess) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  let api = await start('serve');
  let openai = clientOf(api);
  const upload = async (text: string, filename: string) =>
    openai.files.create({ file: await toFile(Buffer.from(text), filename), purpose: 'fine-tune' });
  const create = (file: { id: string }, more: object = {}) =>
    openai.fineTuning.jobs.create({
      model: UNTRAINED_BUNDLE_ID,
      training_file: file.id,
      ...{ webhook: { url: receiver.url } },
      ...more,
    });
  const finished = async (id: string) => {
    const hasEnded = async () => !/queued|running/.test((await openai.fineTuning.jobs.retrieve(id)).status);
    await until(hasEnded, 300_000);
    return openai.fineTuning.jobs.retrieve(id);
  };
  const contents = async (ids: readonly string[]) => {
    const digests: string[] = [];
    for (const id of ids)
      digests.push(sha256(new Uint8Array(await (await openai.files.content(id)).arrayBuffer())));
    return digests;
  };

  const [rows, broken] = [await upload(ROWS, 'rows.jsonl'), await upload('{', 'broken.jsonl')];
  const canceled = await create(rows);
  const created = await create(rows, { validation_file: rows.id, seed: 7, suffix: 'fleet' });
  const bad = await create(broken);
  // There is no worker yet, so it waits for certain.
  t.match(await openai.fineTuning.jobs.cancel(canceled.id), { status: 'cancelled' });
  let worker = await start('worker');
  const job = await finished(created.id);
  const digests = await contents(job.result_files);

  await t.test('jobs end in another process', async (t) => {
    t.match(job, { status: 'succeeded', error: null, result_files: { length: 3 } });
    t.match(await finished(bad.id), { status: 'failed', error: { code: 'invalid_training_file' } });
    t.match(await finished(canceled.id), { status: 'cancelled', fine_tuned_model: null, result_files: [] });
    const messages = (await openai.fineTuning.jobs.listEvents(job.id)).data.map(({ message }) => message);
    const validated = hasBase ? /^Validation on 12 of 12 rows/ : /^The adapter was not validated/;
    t.ok(messages.some((message) => validated.test(message)));
    t.comment(messages.join('\n'));
  });

  await t.test(
    'messages of all three ends are verified by the client, and changed ones refused',
    async (t) => {
      await receiver.waitFor(3, 60_000);
      const ends = { succeeded: job.id, failed: bad.id, cancelled: canceled.id };
      const expected = Object.entries(ends).map(([end, id]) => [`fine_tuning.job.${end}`, id]);
      const seen: string[][] = [];
      for (const { body, headers } of receiver.received) {
        const given = headers as Record<string, string>;
        const { type, data } = await openai.webhooks.unwrap(body, given, SECRET);
        seen.push([type, (data as { id: string }).id]);
        await t.rejects(openai.webhooks.unwrap(body.replace('ftjob-', 'ftjob-0'), given, SECRET), {
          message: /signature/,
        });
      }
      t.strictSame(seen.sort(), expected.sort());
      if (!python) return t.comment('NOT TESTED: openai for Python is not installed');
      const messages = receiver.received.map(({ body, headers }) => ({ body, headers }));
      await writeFile(at('messages.json'), JSON.stringify(messages));
      const script = join(import.meta.dirname, '..', 'e2e', 'check_openai_webhooks.py');
      const { stdout } = await run(python, [script, at('messages.json'), SECRET], {
        env: { ...process.env, PYTHONPATH: OPENAI_PYTHON },
      });
      const verdicts = JSON.parse(stdout) as [[string, string, string], string][];
      t.strictSame(verdicts.map(([[, type, id]]) => [type, id]).sort(), expected);
      for (const [[kind], tampered] of verdicts) {
        t.match(kind, /^FineTuningJob(Succeeded|Failed|Cancelled)WebhookEvent$/);
        t.equal(tampered, 'refused');
      }
    },
  );

  await t.test('files, jobs and models are there after both processes were killed', async (t) => {
    await Promise.all([api.end('SIGKILL'), worker.end('SIGKILL')]);
    [api, worker] = await Promise.all([start('serve'), start('worker')]);
    openai = clientOf(api);
    t.strictSame(await openai.fineTuning.jobs.retrieve(job.id), job);
    t.equal(await (await openai.files.content(rows.id)).text(), ROWS);
    t.strictSame(await contents(job.result_files), digests);
    const listed = async (after?: string) =>
      openai.fineTuning.jobs.list({ limit: 2, ...(after !== undefined && { after }) });
    const page = await listed();
    t.strictSame([page.data.map(({ id }) => id), page.has_more], [[bad.id, job.id], true]);
    t.strictSame(
      (await listed(job.id)).data.map(({ id }) => id),
      [canceled.id],
    );
    const again = await finished((await create(rows, { seed: 7 })).id);
    t.match(again, { status: 'succeeded' }, 'an old file is read by new processes');
    t.equal((await contents(again.result_files))[0], digests[0], 'and gives the same weights');
  });

  await t.test('files and models can be deleted', async (t) => {
    for (const { id } of [rows, broken]) {
      t.match(await openai.files.delete(id), { deleted: true });
      await t.rejects(openai.files.content(id), { status: 404, code: 'file-not-found' });
    }
    await t.rejects(create(rows), { status: 404, code: 'file-not-found' });
    t.match(await openai.models.delete(job.fine_tuned_model!), { deleted: true });
    await t.rejects(openai.models.retrieve(job.fine_tuned_model!), {
      status: 404,
      code: 'chat-model-not-found',
    });
    await t.rejects(openai.files.content(job.result_files[0]!), { status: 404, code: 'file-not-found' });
    t.match((await openai.fineTuning.jobs.retrieve(job.id)).status, 'succeeded', 'the job tells what it did');
  });
}

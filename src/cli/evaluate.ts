/** `loradrop evaluate`: whether a bundle's adapters make a base better at labelled rows, before anyone trusts them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Option } from 'commander';
import { checkGgufBase } from '../adapter/gguf.ts';
import { KEEPS, type Keep } from '../arithmetic/steps.ts';
import { MAX_SEED } from '../base/random.ts';
import type { Config } from '../config/schema.ts';
import { type BaseFile, openBaseFile } from '../evaluation/base-model.ts';
import { MAX_DATA_BYTES, parseRows, type Row, type Split, splitRows } from '../evaluation/rows.ts';
import type { RowScore } from '../evaluation/statistics.ts';
import { availableThreads } from '../inference/available-threads.ts';
import type { Bundle } from '../models/bundle.ts';
import { openBundle } from '../models/open.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { drawForModel } from '../prompts/draw-for-model.ts';
import { cliErrors } from './errors.ts';
import { writeEvaluatedAdapters } from './evaluated-adapters.ts';
import { evaluationReport, printReport } from './evaluation-report.ts';
import { interruptible } from './interrupt.ts';
import { OFFLINE_SETTINGS, READING_LIMITS } from './offline-engine.ts';
import type { Output } from './output.ts';
import {
  addPromptChoice,
  choiceOf,
  type PromptChoiceOptions,
  readPromptFile,
  readTextFile,
} from './read-prompts.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';
import { wholeNumber } from './whole-number.ts';

type Options = PromptChoiceOptions & {
  readonly bundle: string;
  readonly base: string;
  readonly data: string;
  readonly prompts?: string;
  readonly control?: string;
  readonly draws: number;
  readonly keep?: Keep;
  readonly samples: number;
  readonly limit: number;
  readonly seed: number;
  readonly withSystem?: true;
  readonly json?: true;
};

const ABOUT = `
Rows are {"prompt": "…", "response": "…"}, JSON lines or a JSON array. "choices": ["…", …] are what could be answered; accuracy
is then the share of rows whose response is the likeliest of them. Without choices in any row and with at most ten
different responses in the whole file, these are the choices of every row: give "choices" where rows differ in what can be
answered. "system" is ignored unless --with-system is given, since the adapter is to carry the task.

helps   the 95 % interval of the difference in NLL per answer token to the base lies below 0
harms   it lies above 0
neither no difference was seen with so many rows; more rows may show one

For rows with choices two lines say what the form of the answers is worth by itself:
base held to the listed choices   the base's likelihoods of a row's choices, divided by their sum
uniform guess in the right form   every listed choice equally likely, no other answer possible: ln(choices) nats a row
An adapter that is not better than both has brought the form of the answers and nothing else; the verdict then says so.
The intervals are over rows (bootstrap), not over other tasks: --control shows what adapters from other prompts do.`;

export const registerEvaluate: Registration = (command, output) => {
  command
    .addOption(
      new Option('--bundle <dir>', 'bundle directory').default(
        SHIPPED_BUNDLE,
        'the one that comes with Loradrop',
      ),
    )
    .requiredOption('--base <file>', 'the base model as GGUF, with a chat template')
    .requiredOption('--data <file>', 'rows of {"prompt", "response", "choices"?, "system"?}, .jsonl or .json')
    .option(
      '--prompts <file>',
      'prompts to generate from; default: those of rows that are not scored. A bundle that takes a description needs a file with one',
    )
    .option(
      '--control <file>',
      'prompts, or the description, of another task: generates from these as well, for comparison',
    )
    .addOption(
      new Option(
        '--draws <number>',
        'adapters to generate; their scores are averaged (one of a bundle that takes a description, which always makes the same)',
      )
        .argParser(wholeNumber('--draws', 1, 100))
        .default(3),
    )
    .addOption(
      new Option(
        '--keep <which>',
        'make each of them of --samples draws, as requests with "keep" do: the one nearest to their mean, or the mean',
      ).choices(KEEPS),
    )
    .addOption(
      new Option('--samples <number>', 'draws that one adapter is kept of')
        .argParser(wholeNumber('--samples', 2, 32))
        .default(5),
    )
    .addOption(
      new Option('--limit <number>', 'rows to score, the first of a seeded shuffle')
        .argParser(wholeNumber('--limit', 1, 100_000))
        .default(500),
    )
    .addOption(
      new Option('--seed <number>', 'seed of the shuffle, the draws and the intervals')
        .argParser(wholeNumber('--seed', 0, MAX_SEED))
        .default(0),
    )
    .option('--with-system', "use the rows' system messages")
    .option('--json', 'as JSON')
    .addHelpText('after', ABOUT);
  addSettingOptions(addPromptChoice(command), OFFLINE_SETTINGS, READING_LIMITS).action((options: Options) =>
    interruptible((signal) => evaluate(options, configFromOptions(options), output, signal)),
  );
};

async function evaluate(
  options: Options,
  config: Config,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const rows = parseRows(await readTextFile(options.data, { name: 'the evaluation', bytes: MAX_DATA_BYTES }));
  const warnings: string[] = [];
  const promptsOf = async (label: string, file: string | undefined) => {
    if (file === undefined) return undefined;
    const { prompts, about, ...reading } = await readPromptFile(file, config, {
      choice: choiceOf(options),
      signal,
    });
    if (!options.json) output.line(`${label}: ${about}`);
    warnings.push(...reading.warnings.map((warning) => `${label}: ${warning}`));
    return prompts;
  };
  const given = await promptsOf('Prompts', options.prompts);
  const control = await promptsOf('Control', options.control);
  const bundle = await openBundle(options.bundle, { signal });
  const { condition, family } = bundle.manifest;
  if (family === 't2l' && !given) {
    throw cliErrors.input('The bundle takes a description of the task: give a file with one as --prompts.');
  }
  const draws = family === 't2l' ? 1 : options.draws;
  const split = splitRows(rows, {
    limit: options.limit,
    wanted: given ? 0 : condition.prompts,
    seed: options.seed,
  });
  const prompts = given ?? split.prompts;
  warnings.push(...overlapWarnings(prompts, split.scored));
  const samples = options.keep ? options.samples : 1;
  const conditionsOf = (from: readonly string[]): string[][][] => {
    const drawn = drawForModel(bundle.manifest, {
      given: from,
      count: draws * samples,
      seed: options.seed,
    });
    warnings.push(...drawn.warnings.map((warning) => (from === control ? `Control: ${warning}` : warning)));
    const conditions = drawn.draws.map((places) => places.map((place) => drawn.prompts[place]!));
    return Array.from({ length: draws }, (_, draw) => conditions.slice(draw * samples, (draw + 1) * samples));
  };
  const conditions = [...conditionsOf(prompts), ...(control ? conditionsOf(control) : [])];

  const threads = config.threads || availableThreads();
  const file = await openBaseFile(options.base, { threads }).catch((cause: NodeJS.ErrnoException) => {
    if (typeof cause.syscall !== 'string') throw cause;
    throw cliErrors.input(`${options.base} cannot be read (${cause.code}).`, { cause });
  });
  try {
    const { base: target, layout } = bundle.manifest;
    checkGgufBase({ architecture: target.architecture, layout }, file.facts);
    const [base, ...others] = await measure({
      options,
      config,
      bundle,
      file,
      conditions,
      split,
      output,
      signal,
    });
    const report = evaluationReport({
      bundle: bundle.manifest,
      digest: bundle.digest,
      base: basename(options.base),
      rows: { given: rows.length, prompts: prompts.length },
      scores: {
        base: base!,
        generated: others.slice(0, draws),
        control: others.slice(draws),
      },
      seed: options.seed,
      warnings,
    });
    if (options.json) output.line(JSON.stringify(report, null, 2));
    else printReport(report, output);
  } finally {
    await file.close();
  }
}

function overlapWarnings(prompts: readonly string[], scored: readonly Row[]): string[] {
  const texts = new Set(scored.map(({ prompt }) => prompt));
  const overlapping = prompts.filter((prompt) => texts.has(prompt)).length;
  return overlapping > 0 ? [`${overlapping} of the ${prompts.length} prompts are also scored.`] : [];
}

/** The scores of the base alone, then of the base with the adapter of each condition. */
async function measure({
  options,
  config,
  bundle,
  file,
  conditions,
  split,
  output,
  signal,
}: {
  options: Options;
  config: Config;
  bundle: Bundle;
  file: BaseFile;
  /** The samples of each adapter. */
  conditions: readonly (readonly (readonly string[])[])[];
  split: Split;
  output: Output;
  signal: AbortSignal;
}): Promise<RowScore[][]> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-evaluate-'));
  const bar = output.progress('evaluating');
  try {
    const adapters = await writeEvaluatedAdapters(conditions, {
      bundle,
      facts: file.facts,
      config,
      directory,
      ...(options.keep && { keep: options.keep }),
      onProgress: (fraction, label) => bar.update(fraction * GENERATING, label),
      signal,
    });
    const model = await file.load({ signal });
    const rows = model.prepare(split.scored, { withSystem: options.withSystem ?? false });
    const runs = [undefined, ...adapters];
    const scores: RowScore[][] = [];
    for (const [index, adapter] of runs.entries()) {
      const label = adapter === undefined ? 'the base' : `adapter ${index} of ${adapters.length}`;
      const onRow = (done: number) =>
        bar.update(
          GENERATING + ((1 - GENERATING) * (index + done / rows.length)) / runs.length,
          `${label}: ${done} of ${rows.length} rows`,
        );
      scores.push(await model.score(rows, { ...(adapter !== undefined && { adapter }), signal, onRow }));
    }
    bar.update(1, 'done');
    return scores;
  } finally {
    bar.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Share of the progress bar that generating takes. */
const GENERATING = 0.1;

/** `loradrop generate`: prompts → adapters without a server, with the same engine and the same bytes. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Option } from 'commander';
import { DTYPES, type Dtype } from '../base/dtype.ts';
import { MAX_SEED } from '../base/random.ts';
import type { Config } from '../config/schema.ts';
import { adapterFraction, adapterSize, writeAdapter } from '../jobs/make-adapter.ts';
import { type Bundle, UNTRAINED } from '../models/bundle.ts';
import { openBundle } from '../models/open.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { checkPrompts } from '../prompts/check-prompts.ts';
import { drawForModel } from '../prompts/draw-for-model.ts';
import { PROMPT_FILES } from '../prompts/prompt-format.ts';
import { cliErrors } from './errors.ts';
import { interruptible } from './interrupt.ts';
import { createOfflineEngine, OFFLINE_SETTINGS, READING_LIMITS } from './offline-engine.ts';
import { formatCount, type Output } from './output.ts';
import { openOutputDirectory, writeOutputFile } from './output-directory.ts';
import {
  addPromptChoice,
  choiceOf,
  type PromptChoiceOptions,
  type PromptFile,
  readPromptFile,
} from './read-prompts.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';
import { wholeNumber } from './whole-number.ts';

type Options = PromptChoiceOptions & {
  readonly bundle: string;
  readonly prompts?: string;
  readonly description?: string;
  readonly out: string;
  readonly dtype: Dtype;
  readonly seed: number;
  readonly count: number;
  readonly strictPrompts?: true;
};

export const registerGenerate: Registration = (command, output) => {
  command
    .addOption(
      new Option('--bundle <dir>', 'bundle directory').default(
        SHIPPED_BUNDLE,
        'the one that comes with Loradrop',
      ),
    )
    .option('--prompts <file>', `${PROMPT_FILES}; .txt is a prompt a line`)
    .addOption(
      new Option(
        '--description <text>',
        'what the task is, for a bundle that takes a description, in place of a file with one',
      ).conflicts('prompts'),
    )
    .requiredOption(
      '--out <dir>',
      'adapter directory to make; with --count above 1 it gets a directory an adapter: 0, 1, …',
    )
    .addOption(new Option('--dtype <dtype>', 'format of the weights').choices(DTYPES).default('bf16'))
    .addOption(
      new Option('--seed <number>', 'seed of the draw')
        .argParser(wholeNumber('--seed', 0, MAX_SEED))
        .default(0),
    )
    .addOption(
      new Option('--count <number>', 'adapters to sample')
        .argParser(wholeNumber('--count', 1, 10_000))
        .default(1),
    )
    .option('--strict-prompts', 'refuse fewer prompts than the bundle takes, instead of repeating some');
  addSettingOptions(addPromptChoice(command), OFFLINE_SETTINGS, READING_LIMITS).action((options: Options) => {
    if (options.prompts === undefined && options.description === undefined) {
      command.error('error: give the file of the --prompts, or a --description');
    }
    return interruptible((signal) => generate(options, configFromOptions(options), output, signal));
  });
};

async function generate(
  options: Options,
  config: Config,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  await using made = await openOutputDirectory(options.out);
  const given = await readTexts(options, config, signal);
  const bundle = await openBundle(options.bundle, { signal });
  const { condition, family, trained, id } = bundle.manifest;
  if (options.description !== undefined && family === 'dnd') {
    throw cliErrors.input('The bundle takes prompts of a task, not a description: give a file of --prompts.');
  }
  const draw = drawForModel(bundle.manifest, {
    given: given.prompts,
    count: options.count,
    seed: options.seed,
    strict: options.strictPrompts ?? false,
  });
  const taken = family === 't2l' ? 'taken as a description' : `${condition.prompts} a condition`;
  output.line(`${id}${trained ? '' : ` (${UNTRAINED})`}: ${given.about}; ${taken}`);
  for (const warning of [...given.warnings, ...draw.warnings]) output.line(`! ${warning}`);

  const bar = output.progress('generating');
  const startedAt = performance.now();
  const engine = await createOfflineEngine(config);
  try {
    await engine.load(bundle, { signal });
    for (const [index, places] of draw.draws.entries()) {
      const directory = options.count === 1 ? made.path : join(made.path, String(index));
      await mkdir(directory, { recursive: true });
      const prompts = places.map((place) => draw.prompts[place]!);
      await writeAdapter(
        engine,
        { bundle, prompts, dtype: options.dtype },
        (name, content) => writeOutputFile(join(directory, name), content, signal),
        {
          signal,
          onProgress: ({ stage, fraction }) =>
            bar.update((index + adapterFraction(stage, fraction)) / options.count, stage),
        },
      );
    }
    bar.update(1, 'done');
    await made.publish();
  } finally {
    bar.stop();
    await engine.close();
  }
  summarise(bundle, options, output, performance.now() - startedAt);
}

/** The texts that were given. Errors: `input-unusable`, those of reading prompts. */
async function readTexts(
  options: Options,
  config: Config,
  signal: AbortSignal,
): Promise<Pick<PromptFile, 'prompts' | 'about' | 'warnings'>> {
  const { prompts, description } = options;
  if (description !== undefined) {
    checkPrompts([description], config, () => '/description');
    return { prompts: [description], about: `a text of ${description.length} characters`, warnings: [] };
  }
  return readPromptFile(prompts!, config, { choice: choiceOf(options), signal });
}

function summarise(bundle: Bundle, { out, count, dtype }: Options, output: Output, ms: number): void {
  const { tensors, parameters } = adapterSize(bundle);
  output.line(
    `${out}: ${count === 1 ? 'an adapter' : `${count} adapters`} of ${tensors} tensors, ${formatCount(parameters)} parameters, ${dtype}, ${(ms / 1000).toFixed(1)} s`,
  );
}

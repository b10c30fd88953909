/** `loradrop import`: a checkpoint, or random weights of a published size, and an encoder → a bundle. */
import { basename, resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { MAX_SEED } from '../base/random.ts';
import { availableMemory } from '../inference/available-memory.ts';
import { availableThreads } from '../inference/available-threads.ts';
import { createGraphRunner } from '../inference/graph-runner.ts';
import { tryEncoder } from '../inference/try-encoder.ts';
import { KNOWN_BASES } from '../lora/bases.ts';
import { UNTRAINED } from '../models/bundle.ts';
import type { Evaluation } from '../models/evaluation.ts';
import { writeStateDict } from '../models/import/checkpoint/write-state-dict.ts';
import { PRESETS } from '../models/import/dnd/presets.ts';
import type { Tuning } from '../models/import/dnd/tune.ts';
import { MAX_EVALUATION_FILE_BYTES, parseEvaluationFile } from '../models/import/evaluation-file.ts';
import { importCheckpoint } from '../models/import/import-checkpoint.ts';
import { T2L_PRESETS } from '../models/import/t2l/presets.ts';
import { createByteProgress } from './byte-progress.ts';
import { cliErrors } from './errors.ts';
import { openSource, readText, type SourceOptions } from './import-source.ts';
import { interruptible } from './interrupt.ts';
import { watchOtherLoad } from './other-load.ts';
import { formatCount } from './output.ts';
import { tuningReport } from './plan-table.ts';
import type { Registration } from './registration.ts';

type Options = SourceOptions & {
  readonly stateDict?: string;
  readonly encoderFile?: string;
  readonly moduleOrder?: readonly string[];
  readonly out: string;
  readonly id?: string;
  readonly title?: string;
  readonly modelVersion?: string;
  readonly description?: string;
  readonly provenance?: readonly string[];
  readonly evaluation?: string;
  readonly card?: string;
  readonly fullyMasked?: 'zero' | 'uniform';
  readonly precision: 'f32' | 'f16';
  readonly target: 'cpu' | 'cuda';
  readonly memoryBudget?: number;
  readonly tune?: true;
};

/** Share of the available memory that a decoder may take where no budget is given: the rest is the encoder's and the system's. */
const BUDGET_SHARE = 0.75;
/** Largest model card: a long one has 50 kB. */
const MAX_CARD_BYTES = 1 << 18;

export const registerImport: Registration = (command, output) => {
  command
    .option(
      '--checkpoint <path>',
      'state dict in a PyTorch .pth or in safetensors, or the .index.json of a sharded one; or the directory of a Text-to-LoRA checkpoint',
    )
    .option(
      '--state-dict <key>',
      'which state dict of the checkpoint to take where several fit, for example ema; . is the outermost',
    )
    .addOption(
      new Option(
        '--synthetic <size>',
        'in place of a checkpoint: random weights of a published size, marked untrained; brings its own base, and an encoder where none is given',
      )
        .choices([...PRESETS, ...T2L_PRESETS].map(({ name }) => name))
        .conflicts(['checkpoint', 'base', 'layout']),
    )
    .option('--seed <number>', 'seed of --synthetic', parseSeed, 0)
    .option('--checkpoint-out <file>', 'also write the weights of --synthetic as safetensors')
    .option(
      '--encoder <dir>',
      'directory with the encoder’s model.onnx (or onnx/model.onnx) and tokenizer.json',
    )
    .option(
      '--encoder-file <path>',
      'the form to take where the directory has several, for example onnx/model_quantized.onnx',
    )
    .addOption(
      new Option(
        '--base <id>',
        `known base: ${KNOWN_BASES.map(({ alias }) => alias).join(', ')}, or its full id`,
      ).conflicts('layout'),
    )
    .option('--layout <file>', 'JSON that describes any other Llama or Qwen type base')
    .option(
      '--module-order <names>',
      'of a Text-to-LoRA checkpoint: modules in the order of its module embedding, as q_proj,v_proj, where that is not the order of its heads',
      parseNames,
    )
    .requiredOption('--out <dir>', 'bundle directory to make')
    .option('--id <id>', 'what clients name in `model` (default: the name of the output directory)')
    .option('--title <text>', 'a line for people')
    .option('--model-version <text>', 'version of the generator')
    .option('--description <text>', 'a paragraph for people')
    .option(
      '--licence <text>',
      'licence of the weights, and what training data add to it',
      'not stated at import',
    )
    .addOption(
      new Option(
        '--commercial-use <answer>',
        'whether the weights and the data they were trained on allow commercial use',
      )
        .choices(['yes', 'no', 'unclear'])
        .default('unclear'),
    )
    .option(
      '--provenance <text>',
      'a sentence on where weights, encoder or tokenizer come from; may be given several times',
      (sentence: string, before: readonly string[] = []) => [...before, sentence],
    )
    .option('--evaluation <file>', 'JSON with what was measured of the generator: `protocol` and `rows`')
    .option('--card <file>', 'Markdown that goes into the bundle as MODEL_CARD.md')
    .option('--untrained', 'the weights are random: mark everything made with them as untrained')
    .addOption(
      new Option(
        '--fully-masked <mode>',
        'what the encoder’s attention gives where every key is masked, written into its graph where prompts are longer than one slice: zero (as the published generators were run) or uniform (as PyTorch’s eager attention in float32); default zero',
      ).choices(['zero', 'uniform']),
    )
    .addOption(
      new Option(
        '--precision <format>',
        'what the generator’s large weights are stored as: f16 takes half of the disk, and on cuda convolutions compute in it',
      )
        .choices(['f32', 'f16'])
        .default('f32'),
    )
    .addOption(
      new Option(
        '--target <device>',
        'what the bundle will run on: on a cpu, large convolutions are computed through their spectra, which is many times faster and takes more memory; on cuda all stay as they are',
      )
        .choices(['cpu', 'cuda'])
        .default('cpu'),
    )
    .option(
      '--memory-budget <GiB>',
      'most memory the decoder may take with --target cpu (default: three quarters of what this machine has available)',
      parseGibibytes,
    )
    .option(
      '--tune',
      'with --target cpu, time the ways to compute the convolutions on this machine, which should have nothing else to do: minutes for a large decoder',
    )
    .action(async (options: Options) => {
      if (options.tune && options.target !== 'cpu') throw cliErrors.input('--tune goes with --target cpu.');
      const [evaluation, card] = [await readEvaluation(options), await readCard(options)];
      const bar = output.progress('importing');
      const startedAt = performance.now();
      const { out, title, modelVersion, description, encoderFile, fullyMasked } = options;
      const sinceStart = watchOtherLoad();
      let otherShare = 0;
      let tuning: Tuning | undefined;
      const notes: string[] = [];
      const bundle = await interruptible(async (signal) => {
        await using source = await openSource(options);
        const show = createByteProgress(bar);
        const { checkpoint } = source;
        if (options.checkpointOut !== undefined && typeof checkpoint !== 'string') {
          const stateDict = 'config' in checkpoint ? checkpoint.stateDict : checkpoint;
          const totalBytes = stateDict.entries.reduce(
            (sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b),
            0,
          );
          await writeStateDict(options.checkpointOut, stateDict, {
            signal,
            onProgress: (doneBytes) => show('checkpoint', doneBytes, totalBytes),
          });
        }
        return await importCheckpoint({
          ...source,
          signal,
          out,
          id: options.id ?? basename(resolve(out)).toLowerCase(),
          ...(title === undefined ? {} : { title }),
          ...(modelVersion === undefined ? {} : { version: modelVersion }),
          ...(description === undefined ? {} : { description }),
          provenance: [...(options.provenance ?? []), ...source.provenance],
          ...(evaluation === undefined ? {} : { evaluation }),
          ...(card === undefined ? {} : { card }),
          ...(encoderFile === undefined ? {} : { encoderFile }),
          ...(options.stateDict === undefined ? {} : { stateDictKey: options.stateDict }),
          verify: (made) => tryEncoder(made, { threads: availableThreads() }),
          onNote: (sentence) => notes.push(sentence),
          ...(fullyMasked === undefined ? {} : { fullyMaskedAttention: fullyMasked }),
          ...(options.moduleOrder && { moduleOrder: options.moduleOrder }),
          precision: options.precision,
          ...(options.target === 'cpu' && {
            optimise: {
              memoryBytes: options.memoryBudget ?? Math.floor(BUDGET_SHARE * availableMemory()),
              runner: createGraphRunner({ threads: availableThreads() }),
              ...(options.tune && {
                tune: {
                  runner: createGraphRunner({ threads: availableThreads(), keepsMemory: true }),
                  onProgress: (done, total) => bar.update(done / total, `tuning, ${done} of ${total} timed`),
                  onTuned: (made) => {
                    tuning = made;
                    otherShare = sinceStart();
                  },
                },
              }),
            },
          }),
          onProgress: ({ step, doneBytes, totalBytes }) => show(step, doneBytes, totalBytes),
        });
      }).finally(() => bar.stop());
      const { manifest, digest } = bundle;
      const wants =
        manifest.family === 't2l'
          ? 'takes a description'
          : `${manifest.condition.prompts} prompts a condition`;
      output.line(
        `${manifest.id}: ${formatCount(manifest.generator.parameters)} generator parameters, ${wants}, base ${manifest.base.id}`,
      );
      for (const note of notes) output.line(note);
      output.line(`${out}, digest ${digest}, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
      if (options.tune) {
        const report = ['not tuned: a decoder this small computes every convolution directly'];
        for (const line of tuning ? tuningReport(tuning, otherShare) : report) output.line(line);
      }
      if (!manifest.trained) output.line(UNTRAINED);
    });
};

function parseGibibytes(text: string): number {
  const bytes = Number(text) * 2 ** 30;
  if (!(bytes > 0 && Number.isSafeInteger(Math.round(bytes)))) {
    throw new InvalidArgumentError('It is a number of GiB above 0, for example 12.');
  }
  return Math.round(bytes);
}

function parseNames(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('') || new Set(names).size < names.length) {
    throw new InvalidArgumentError('It is a list of different names, for example q_proj,v_proj.');
  }
  return names;
}

function parseSeed(text: string): number {
  const seed = Number(text);
  if (!/^[0-9]+$/.test(text) || seed > MAX_SEED) {
    throw new InvalidArgumentError(`It is a whole number from 0 to ${MAX_SEED}.`);
  }
  return seed;
}

async function readEvaluation({ evaluation }: Options): Promise<Evaluation | undefined> {
  if (evaluation === undefined) return undefined;
  return parseEvaluationFile(await readText(evaluation, MAX_EVALUATION_FILE_BYTES));
}

async function readCard({ card }: Options): Promise<string | undefined> {
  return card === undefined ? undefined : readText(card, MAX_CARD_BYTES);
}

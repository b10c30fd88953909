/** `loradrop import`: a DnD checkpoint and an encoder → a bundle. */
import { readFile, stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { Option } from 'commander';
import { KNOWN_BASES } from '../lora/bases.ts';
import { UNTRAINED } from '../models/bundle.ts';
import { MAX_BASE_FILE_BYTES, parseBaseFile } from '../models/import/base-file.ts';
import { importCheckpoint } from '../models/import/import-checkpoint.ts';
import { cliErrors } from './errors.ts';
import { interruptible } from './interrupt.ts';
import { formatBytes, formatCount } from './output.ts';
import type { Registration } from './registration.ts';

type Options = {
  readonly checkpoint: string;
  readonly encoder: string;
  readonly base?: string;
  readonly layout?: string;
  readonly out: string;
  readonly id?: string;
  readonly title?: string;
  readonly modelVersion?: string;
  readonly licence: string;
  readonly untrained?: true;
  readonly fullyMasked?: 'zero' | 'uniform';
};

export const registerImport: Registration = (program, output) => {
  program
    .command('import')
    .description('Make a bundle from a DnD decoder checkpoint (safetensors) and an ONNX encoder.')
    .requiredOption('--checkpoint <file>', 'state dict in safetensors, or the .index.json of a sharded one')
    .requiredOption('--encoder <dir>', 'directory with the encoder’s model.onnx and tokenizer.json')
    .addOption(
      new Option(
        '--base <id>',
        `known base: ${KNOWN_BASES.map(({ alias }) => alias).join(', ')}, or its full id`,
      ).conflicts('layout'),
    )
    .option('--layout <file>', 'JSON that describes any other Llama or Qwen type base')
    .requiredOption('--out <dir>', 'bundle directory to make')
    .option('--id <id>', 'what clients name in `model` (default: the name of the output directory)')
    .option('--title <text>', 'a line for people')
    .option('--model-version <text>', 'version of the generator')
    .option('--licence <text>', 'licence of the weights', 'not stated at import')
    .option('--untrained', 'the weights are random: mark everything made with them as untrained')
    .addOption(
      new Option(
        '--fully-masked <mode>',
        'what the encoder’s attention gives where every key is masked, for prompts longer than one slice: zero (PyTorch SDPA exports) or uniform (eager exports); default zero',
      ).choices(['zero', 'uniform']),
    )
    .action(async (options: Options) => {
      if ((options.base === undefined) === (options.layout === undefined)) {
        throw cliErrors.input('Give either --base or --layout.');
      }
      const base = options.base ?? parseBaseFile(await readLayoutFile(options.layout!));
      const total = await stat(options.checkpoint).then(
        ({ size }) => size,
        () => 0,
      );
      const bar = output.progress('importing');
      const startedAt = performance.now();
      const { title, modelVersion, fullyMasked } = options;
      const bundle = await interruptible((signal) =>
        importCheckpoint({
          signal,
          checkpoint: options.checkpoint,
          encoderDirectory: options.encoder,
          base,
          out: options.out,
          id: options.id ?? basename(resolve(options.out)).toLowerCase(),
          trained: !options.untrained,
          licence: options.licence,
          provenance: [`Imported by Loradrop from ${basename(options.checkpoint)}.`],
          ...(title === undefined ? {} : { title }),
          ...(modelVersion === undefined ? {} : { version: modelVersion }),
          ...(fullyMasked === undefined ? {} : { fullyMaskedAttention: fullyMasked }),
          onProgress: ({ step, doneBytes }) =>
            // Of a sharded checkpoint only the index was measured: the bar then shows bytes alone.
            bar.update(
              step === 'decoder' ? Math.min(0.8, (0.8 * doneBytes) / Math.max(total, doneBytes)) : 0.9,
              `${step} ${formatBytes(doneBytes)}`,
            ),
        }),
      ).finally(() => bar.stop());
      const { manifest, digest } = bundle;
      output.line(
        `${manifest.id}: ${formatCount(manifest.decoder.parameters)} decoder parameters, ${manifest.condition.prompts} prompts a condition, base ${manifest.base.id}`,
      );
      output.line(
        `${options.out}, digest ${digest}, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`,
      );
      if (!manifest.trained) output.line(UNTRAINED);
    });
};

async function readLayoutFile(path: string): Promise<string> {
  const { size } = await stat(path).catch((cause) => {
    throw cliErrors.input(`${path} cannot be read.`, { cause });
  });
  if (size > MAX_BASE_FILE_BYTES)
    throw cliErrors.input(`${path} is larger than ${MAX_BASE_FILE_BYTES} bytes.`);
  return readFile(path, 'utf8');
}

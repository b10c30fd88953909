/** Where `loradrop import` takes weights from: a checkpoint, or random numbers of a published size. */
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { MAX_BASE_FILE_BYTES, parseBaseFile } from '../models/import/base-file.ts';
import { openSynthetic } from '../models/import/dnd/open-synthetic.ts';
import { PRESETS } from '../models/import/dnd/presets.ts';
import type { ImportOptions } from '../models/import/import-options.ts';
import { findT2lFiles } from '../models/import/t2l/find-files.ts';
import { openSyntheticT2l } from '../models/import/t2l/open-synthetic.ts';
import { T2L_PRESETS } from '../models/import/t2l/presets.ts';
import { cliErrors } from './errors.ts';

/** Options of the command that say where weights come from and what is known of them. */
export type SourceOptions = {
  readonly checkpoint?: string;
  readonly synthetic?: string;
  readonly seed: number;
  readonly checkpointOut?: string;
  readonly encoder?: string;
  readonly base?: string;
  readonly layout?: string;
  readonly licence: string;
  readonly commercialUse: 'yes' | 'no' | 'unclear';
  readonly untrained?: true;
};

/** Answers of `--commercial-use`. */
const COMMERCIAL_USE = { yes: true, no: false, unclear: 'unclear' } as const;

/** Where the weights come from and what is known of them: a file, or a size. Errors: `input-unusable`. */
export async function openSource(
  options: SourceOptions,
): Promise<AsyncDisposable & Omit<ImportOptions, 'out' | 'id'>> {
  const { synthetic, seed, checkpoint, encoder, base, layout } = options;
  const preset = PRESETS.find(({ name }) => name === synthetic);
  if (preset) {
    return openSynthetic(preset, { seed, ...(encoder === undefined ? {} : { encoderDirectory: encoder }) });
  }
  const t2lPreset = T2L_PRESETS.find(({ name }) => name === synthetic);
  if (t2lPreset) {
    return openSyntheticT2l(t2lPreset, {
      seed,
      ...(encoder === undefined ? {} : { encoderDirectory: encoder }),
    });
  }
  if (checkpoint === undefined) throw cliErrors.input('Give either --checkpoint or --synthetic.');
  if (options.checkpointOut !== undefined) throw cliErrors.input('--checkpoint-out goes with --synthetic.');
  if (encoder === undefined) throw cliErrors.input('Give the directory of the --encoder.');
  const isT2l = (await findT2lFiles(checkpoint)) !== undefined;
  if (base === undefined && layout === undefined && !isT2l) {
    throw cliErrors.input('Give either --base or --layout.');
  }
  const described =
    layout === undefined
      ? base
      : parseBaseFile(await readText(layout, MAX_BASE_FILE_BYTES), { tokens: !isT2l });
  return {
    checkpoint,
    encoderDirectory: encoder,
    ...(described === undefined ? {} : { base: described }),
    trained: !options.untrained,
    licence: { text: options.licence, commercialUse: COMMERCIAL_USE[options.commercialUse] },
    provenance: [`Imported by Loradrop from ${basename(checkpoint)}.`],
    async [Symbol.asyncDispose]() {},
  };
}

/** A text file that is not larger than a limit. Errors: `input-unusable`. */
export async function readText(path: string, maxBytes: number): Promise<string> {
  const { size } = await stat(path).catch((cause) => {
    throw cliErrors.input(`${path} cannot be read.`, { cause });
  });
  if (size > maxBytes) throw cliErrors.input(`${path} is larger than ${maxBytes} bytes.`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    throw cliErrors.input(`${path} cannot be read as UTF-8.`, { cause });
  }
}

/** Which family a checkpoint is of, and for which base. */
import { checkLayout, findBase, KNOWN_BASES } from '../../lora/bases.ts';
import { modelErrors } from '../errors.ts';
import { openStateDict } from './checkpoint/open-state-dict.ts';
import { openDecoder } from './dnd/decoder-source.ts';
import type { GeneratorSource } from './generator-source.ts';
import type { BaseLayout, ImportOptions } from './import-options.ts';
import { findT2lFiles } from './t2l/find-files.ts';
import { openHypernetwork } from './t2l/hypernetwork-source.ts';
import { openT2lCheckpoint, type T2lCheckpoint } from './t2l/open-checkpoint.ts';

/** A generator that was recognised, with its base. Whatever was opened for it is closed with it. */
export type OpenedGenerator = { readonly source: GeneratorSource; readonly base: BaseLayout };

/**
 * Opens a checkpoint: the directory of a Text-to-LoRA generator, or a file with a Drag-and-Drop decoder. Errors:
 * `checkpoint-invalid`, `layout-invalid`.
 */
export async function openGenerator(options: ImportOptions): Promise<OpenedGenerator> {
  const { checkpoint } = options;
  if (typeof checkpoint !== 'string') {
    return 'config' in checkpoint ? openT2l(checkpoint, options) : openDnd(options);
  }
  const files = await findT2lFiles(checkpoint);
  return files ? openT2l(await openT2lCheckpoint(files), options) : openDnd(options);
}

async function openDnd(options: ImportOptions): Promise<OpenedGenerator> {
  if (options.base === undefined) throw modelErrors.checkpoint('Say for which base model the decoder is.');
  const base = baseOf(options.base);
  if (options.moduleOrder) {
    throw modelErrors.checkpoint(
      'An order of modules goes with a Text-to-LoRA checkpoint; this is a decoder.',
    );
  }
  const { checkpoint } = options as {
    checkpoint: string | Exclude<ImportOptions['checkpoint'], T2lCheckpoint>;
  };
  const owned = typeof checkpoint === 'string';
  const stateDict = owned ? await openStateDict(checkpoint) : checkpoint;
  try {
    return { base, source: openDecoder(stateDict, base.layout, { ...options, owned }) };
  } catch (error) {
    if (owned) await stateDict.close();
    throw error;
  }
}

async function openT2l(checkpoint: T2lCheckpoint, options: ImportOptions): Promise<OpenedGenerator> {
  const { precision = 'f32', moduleOrder, onNote } = options;
  try {
    const base = baseOf(options.base ?? baseNamedBy(checkpoint));
    const source = openHypernetwork(checkpoint, {
      base,
      precision,
      ...(moduleOrder && { moduleOrder }),
      ...(onNote && { onNote }),
    });
    return { base, source };
  } catch (error) {
    await checkpoint.stateDict.close();
    throw error;
  }
}

/** The id of the base that a checkpoint was trained for, where it is a known one. Errors: `checkpoint-invalid`. */
function baseNamedBy({ args, config }: T2lCheckpoint): string {
  const named = [config.base_model_name_or_path, args.model_dir].filter((name) => name);
  const known = named.find((name) => findBase(name!));
  if (known) return known;
  throw modelErrors.checkpoint(
    `The checkpoint names no base that is known here${named[0] ? ` (${JSON.stringify(named[0].slice(0, 200))})` : ''}. Give --base or --layout.`,
  );
}

function baseOf(base: string | BaseLayout): BaseLayout {
  const found = typeof base === 'string' ? findBase(base) : base;
  if (!found) {
    const known = KNOWN_BASES.map(({ alias }) => alias).join(', ');
    throw modelErrors.checkpoint(`There is no known base model of this name. Known are ${known}.`);
  }
  checkLayout(found.layout);
  return found;
}

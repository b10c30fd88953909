/** Which path is a Text-to-LoRA checkpoint, and where its three files lie. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { modelErrors } from '../../errors.ts';

/** The state dict of the hypernetwork, by which a checkpoint of this family is known. */
const HYPERNETWORK_FILE = 'hypermod.pt';
/** The arguments of its training. */
export const ARGS_FILE = 'args.yaml';
/** PEFT's description of the adapters that it makes. */
export const CONFIG_FILE = 'adapter_config.json';
/** Folder of a training run that has a folder for each saved step: `checkpoints/it_1000/hypermod.pt`. */
const STEPS_FOLDER = 'checkpoints';
/** Most steps that a message lists. */
const MAX_LISTED = 4;

/** Paths of the files of a checkpoint. */
export type T2lFiles = { readonly hypernetwork: string; readonly args: string; readonly config: string };

/**
 * The files of the Text-to-LoRA checkpoint at a path: a directory with `hypermod.pt`, or that file itself, which may lie in
 * a step's folder of a training run. Undefined where the path is something else.
 * Errors: `checkpoint-invalid` naming the file that is missing, or the saved steps to choose from.
 */
export async function findT2lFiles(path: string): Promise<T2lFiles | undefined> {
  const isDirectory = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  if (!isDirectory && basename(path) !== HYPERNETWORK_FILE) return undefined;
  const hypernetwork = isDirectory ? join(path, HYPERNETWORK_FILE) : path;
  const directory = dirname(resolve(hypernetwork));
  if (!(await isFile(hypernetwork))) {
    if (!isDirectory || !(await isFile(join(path, ARGS_FILE)))) return undefined;
    const steps = (await readdir(join(path, STEPS_FOLDER)).catch(() => [])).sort();
    const shown = steps.slice(0, MAX_LISTED).map((step) => `${STEPS_FOLDER}/${step}/${HYPERNETWORK_FILE}`);
    throw modelErrors.checkpoint(
      `The directory has ${ARGS_FILE} and no ${HYPERNETWORK_FILE}.${shown.length > 0 ? ` Name a saved step: ${shown.join(', ')}.` : ''}`,
    );
  }
  const run = dirname(dirname(directory));
  const isStep = basename(dirname(directory)) === STEPS_FOLDER && !(await isFile(join(directory, ARGS_FILE)));
  const root = isStep ? run : directory;
  for (const name of [ARGS_FILE, CONFIG_FILE]) {
    if (!(await isFile(join(root, name)))) {
      throw modelErrors.checkpoint(`A Text-to-LoRA checkpoint needs ${name} with its ${HYPERNETWORK_FILE}.`);
    }
  }
  return { hypernetwork, args: join(root, ARGS_FILE), config: join(root, CONFIG_FILE) };
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

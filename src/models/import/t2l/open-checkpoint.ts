/** A Text-to-LoRA checkpoint as it lies on disk: its state dict, the arguments of its training, its adapters' configuration. */
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { modelErrors } from '../../errors.ts';
import { openStateDict } from '../checkpoint/open-state-dict.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import { MAX_CONFIG_BYTES, parseT2lAdapterConfig, type T2lAdapterConfig } from './adapter-config.ts';
import type { T2lFiles } from './find-files.ts';
import { MAX_ARGS_BYTES, parseTrainingArgs, type TrainingArgs } from './training-args.ts';

/** The three parts of a checkpoint. The state dict is open. */
export type T2lCheckpoint = {
  readonly stateDict: StateDict;
  readonly args: TrainingArgs;
  readonly config: T2lAdapterConfig;
};

/** Opens the files of a checkpoint. Errors: `checkpoint-invalid` naming the file and what is wrong. */
export async function openT2lCheckpoint(files: T2lFiles): Promise<T2lCheckpoint> {
  const args = parseTrainingArgs(await readText(files.args, MAX_ARGS_BYTES));
  const config = parseT2lAdapterConfig(await readText(files.config, MAX_CONFIG_BYTES));
  return { args, config, stateDict: await openStateDict(files.hypernetwork) };
}

async function readText(path: string, maxBytes: number): Promise<string> {
  const name = basename(path);
  if ((await stat(path)).size > maxBytes) {
    throw modelErrors.checkpoint(`${name} is larger than ${maxBytes} bytes.`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    throw modelErrors.checkpoint(`${name} cannot be read as UTF-8.`, { cause });
  }
}

import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writeSafetensors } from '../../../adapter/safetensors.ts';
import { newId } from '../../../base/ids.ts';
import type { StateDict } from './state-dict.ts';

/**
 * Writes a state dict whose entries come in name order as a float32 safetensors file, for other programs to load. Memory
 * stays bounded by the chunks of the state dict. The file appears when it is whole; an existing one is replaced.
 */
export async function writeStateDict(
  path: string,
  stateDict: StateDict,
  options: { signal?: AbortSignal; onProgress?: (doneBytes: number) => void } = {},
): Promise<void> {
  const { signal, onProgress } = options;
  const aborting = signal ? { signal } : {};
  async function* numbers(): AsyncGenerator<Float32Array> {
    let doneBytes = 0;
    for (const { name } of stateDict.entries) {
      for await (const chunk of stateDict.stream(name, aborting)) {
        yield chunk;
        doneBytes += chunk.byteLength;
        onProgress?.(doneBytes);
      }
    }
  }
  const part = join(dirname(resolve(path)), newId(`.${basename(path)}.writing`));
  try {
    await pipeline(
      writeSafetensors(stateDict.entries, numbers(), { dtype: 'f32', ...aborting }),
      createWriteStream(part, { flags: 'wx', flush: true }),
    );
    await rename(part, path);
  } finally {
    await rm(part, { force: true });
  }
}

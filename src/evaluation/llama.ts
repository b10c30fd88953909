/** llama.cpp inside this process, by the package `node-llama-cpp`, which need not be installed. */
import { open } from 'node:fs/promises';
import type { Llama } from 'node-llama-cpp';
import { type BaseFacts, readBaseFacts } from './base-facts.ts';
import { checkGgufHeader } from './check-gguf-header.ts';
import { evaluationErrors } from './errors.ts';

/** The package, once it is loaded. */
export type LlamaLibrary = typeof import('node-llama-cpp');

/** Loads the package when it is wanted: nothing else pays for it, or needs it to be there. Errors: `base-runtime-missing`. */
export async function loadLlamaLibrary(): Promise<LlamaLibrary> {
  try {
    return await import('node-llama-cpp');
  } catch (cause) {
    throw evaluationErrors.runtime(
      'The package node-llama-cpp, which runs GGUF models, is not installed or does not load: npm install node-llama-cpp.',
      { cause },
    );
  }
}

/** Starts llama.cpp with the binary that the package brought. Errors: `base-runtime-missing` where none runs here. */
export function startLlama(library: LlamaLibrary, threads: number): Promise<Llama> {
  return library
    .getLlama({
      // There are no other binaries for Apple's processors.
      gpu: process.platform === 'darwin' && process.arch === 'arm64' ? 'auto' : false,
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      logLevel: library.LlamaLogLevel.disabled,
      maxThreads: threads,
    })
    .catch((cause: unknown) => {
      throw evaluationErrors.runtime(
        `node-llama-cpp has no binary that runs here (${process.platform}, ${process.arch}).`,
        { cause },
      );
    });
}

/** What a GGUF file says about its model, without starting llama.cpp. Errors: `base-model-unusable`, `base-runtime-missing`; the system's own. */
export async function readBaseFile(path: string): Promise<BaseFacts> {
  await checkGguf(path);
  const { readGgufFileInfo } = await loadLlamaLibrary();
  const info = await readGgufFileInfo(path, { sourceType: 'filesystem', logWarnings: false }).catch(
    (cause: unknown) => {
      throw evaluationErrors.base('Its GGUF metadata cannot be read: the file may be damaged.', { cause });
    },
  );
  return readBaseFacts(info.metadata);
}

/** Refuses what has no whole GGUF header. Errors: `base-model-unusable`; the system's own. */
async function checkGguf(path: string): Promise<void> {
  await using file = await open(path, 'r');
  const { bytesRead, buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
  if (bytesRead < 8 || buffer.toString('latin1', 0, 4) !== 'GGUF') {
    throw evaluationErrors.base('It is not a GGUF file.');
  }
  await checkGgufHeader(file);
}

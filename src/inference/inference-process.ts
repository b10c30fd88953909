/** The engine's hold on its child process. */
import { ForkedProcess, type ForkOptions } from '../base/forked-process.ts';
import type { FromChild, ToChild } from './protocol.ts';

/**
 * How glibc keeps memory: freed blocks of any size stay in the process and serve the next operator, whichever session runs it.
 * By default large ones go back to the system and come again page by page, and ONNX Runtime's own cure, an arena a session,
 * keeps the workspace of every stage at once. Measured with the published 0.5B decoder on spectra, the second decode: 12.4 s
 * of CPU and 15.1 GB at most with this; 14.9 s and 14.5 GB without; 15.5 s and 19.3 GB with arenas.
 */
const ALLOCATOR: Readonly<Record<string, string>> = {
  MALLOC_MMAP_MAX_: '0',
  MALLOC_TRIM_THRESHOLD_: String(2 ** 40),
};

/** A running child process of `child.ts`. */
export class InferenceProcess extends ForkedProcess<ToChild, FromChild> {
  /** Starts the process. */
  constructor({ environment, ...options }: Omit<ForkOptions<FromChild>, 'entry' | 'what'>) {
    super({
      ...options,
      entry: new URL('./child.ts', import.meta.url),
      what: 'inference process',
      environment: { ...environment, ...ALLOCATOR },
    });
  }
}

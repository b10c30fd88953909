/** Bytes → prompts: the one way in for files and bodies, at the HTTP edge and on the command line. */
import { Worker } from 'node:worker_threads';
import { LoradropError } from '../base/errors.ts';
import type { PromptLimits } from './check-prompts.ts';
import type { PromptChoice } from './choose-column.ts';
import { promptErrors } from './errors.ts';
import type { PromptFormat } from './prompt-format.ts';
import { isParquet } from './read-parquet.ts';
import { type PromptReading, type ReadOptions, readUnpacked } from './read-unpacked.ts';
import type { ThreadAnswer } from './reading-thread.ts';
import { codingOf, tooLarge, unpack } from './unpack.ts';

/** How {@link readPrompts} reads. */
export type ReadPromptsOptions = {
  readonly format: PromptFormat;
  readonly limits: PromptLimits & {
    /** Bytes once they are unpacked. */
    readonly maxBytes: number;
  };
  readonly choice?: PromptChoice;
  readonly signal?: AbortSignal;
};

/**
 * Largest text that is read on the calling thread: its event loop stands still for about 10 ms. What is larger, and Parquet
 * of any size, is read in a thread of its own, which can be ended.
 */
export const MAX_BYTES_INLINE = 1 << 18;
/** Threads that read at the same time; further ones wait. The engine and the event loop need the other cores. */
const MAX_THREADS = 2;
/** Time for one reading: a hundred times what 16 MiB of any format take. */
const READING_MS = 30_000;
/** Heap of a reading thread: rows of short columns take about twenty times their bytes. */
const HEAP_MIB = 256;
const HEAP_PER_BYTE = 24;

/**
 * The prompts of bytes that may be compressed (gzip, zstd; told by their first bytes), and are Parquet where they begin and
 * end like that, whatever `format` says. Errors: `prompts-too-large` where they unpack to more than `maxBytes`, take too
 * long or too much memory; `text-not-utf8`; those of the formats, of {@link choosePrompts} and {@link checkPrompts}.
 */
export async function readPrompts(bytes: Uint8Array, options: ReadPromptsOptions): Promise<PromptReading> {
  const { limits, choice = {}, signal } = options;
  const coding = codingOf(bytes);
  if (!coding && bytes.length > limits.maxBytes) throw tooLarge(limits.maxBytes);
  const unpacked = coding ? await unpack(bytes, coding, limits.maxBytes) : bytes;
  const format = isParquet(unpacked) ? 'parquet' : options.format;
  const request: ReadOptions = { format, limits, choice };
  signal?.throwIfAborted();
  if (format !== 'parquet' && unpacked.length <= MAX_BYTES_INLINE) return readUnpacked(unpacked, request);
  return readInThread(unpacked, request, signal);
}

async function readInThread(
  bytes: Uint8Array,
  options: ReadOptions,
  signal: AbortSignal | undefined,
): Promise<PromptReading> {
  const release = await threadPlace();
  try {
    signal?.throwIfAborted();
    const answer = await askThread(bytes, options, signal);
    if ('reading' in answer) return answer.reading;
    const { code, title, message, fields } = answer.failure;
    throw new LoradropError({ code, title, retryable: false }, message, { fields });
  } finally {
    release();
  }
}

async function askThread(bytes: Uint8Array, options: ReadOptions, signal: AbortSignal | undefined) {
  // A copy of its own, so that it can be handed over: bytes of a request may be a part of a larger buffer.
  const own = new Uint8Array(bytes);
  const worker = new Worker(new URL('./reading-thread.ts', import.meta.url), {
    workerData: { bytes: own, options },
    transferList: [own.buffer],
    execArgv: [],
    env: {},
    resourceLimits: {
      maxOldGenerationSizeMb: HEAP_MIB + Math.ceil((bytes.length * HEAP_PER_BYTE) / 2 ** 20),
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<ThreadAnswer>();
  const timer = setTimeout(
    () => reject(promptErrors.tooLarge('Reading takes longer than is waited for.')),
    READING_MS,
  );
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  worker.once('message', resolve);
  worker.once('error', (error: NodeJS.ErrnoException) => {
    const exhausted = error.code === 'ERR_WORKER_OUT_OF_MEMORY';
    reject(exhausted ? promptErrors.tooLarge('Reading takes more memory than is given to it.') : error);
  });
  worker.once('exit', () => reject(new Error('The reading thread ended without an answer.')));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}

let threads = 0;
const waiting: (() => void)[] = [];

/** Waits for a place for a thread; the returned function gives it back. */
async function threadPlace(): Promise<() => void> {
  if (threads < MAX_THREADS) threads += 1;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  return () => {
    const next = waiting.shift();
    if (next) next();
    else threads -= 1;
  };
}

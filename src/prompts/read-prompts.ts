/** Bytes → prompts: the one way in for files and bodies, at the HTTP edge and on the command line. */
import { fork } from 'node:child_process';
import { LoradropError } from '../base/errors.ts';
import type { PromptLimits } from './check-prompts.ts';
import type { PromptChoice } from './choose-column.ts';
import { promptErrors } from './errors.ts';
import { refuseOtherFiles } from './other-files.ts';
import type { PromptFormat } from './prompt-format.ts';
import { isParquet } from './read-parquet.ts';
import { type PromptReading, type ReadOptions, readUnpacked } from './read-unpacked.ts';
import type { ReadingAnswer, ReadingRequest } from './reading-process.ts';
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
 * Largest text that is read in this process: a table of nothing but commas, the slowest, takes its event loop for
 * about 50 ms, prompts a few. What is larger, and Parquet of any size, is read in a process of its own.
 */
export const MAX_BYTES_INLINE = 1 << 16;
/** Processes that read at the same time; further readings wait. The engine and the event loop need the other cores. */
const MAX_PROCESSES = 2;
/** Time for one reading: about ten times what ordinary files take, and enough for tables of nothing but commas. */
const READING_MS = 15_000;
const READING_MS_PER_MIB = 500;
/** Heap of a reading process: rows of short columns take about twenty times their bytes. */
const HEAP_MIB = 192;
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
  refuseOtherFiles(unpacked);
  const format = isParquet(unpacked) ? 'parquet' : options.format;
  const request: ReadOptions = { format, limits, choice };
  signal?.throwIfAborted();
  if (format !== 'parquet' && unpacked.length <= MAX_BYTES_INLINE) return readUnpacked(unpacked, request);
  return readElsewhere(unpacked, request, signal);
}

async function readElsewhere(
  bytes: Uint8Array,
  options: ReadOptions,
  signal: AbortSignal | undefined,
): Promise<PromptReading> {
  const release = await processPlace();
  try {
    signal?.throwIfAborted();
    const answer = await askProcess({ bytes, options }, signal);
    if ('reading' in answer) return answer.reading;
    const { code, title, message, fields } = answer.failure;
    throw new LoradropError({ code, title, retryable: false }, message, { fields });
  } finally {
    release();
  }
}

async function askProcess(request: ReadingRequest, signal: AbortSignal | undefined): Promise<ReadingAnswer> {
  const mebibytes = Math.ceil(request.bytes.length / 2 ** 20);
  const heapMib = HEAP_MIB + mebibytes * HEAP_PER_BYTE;
  const child = fork(new URL('./reading-process.ts', import.meta.url), [], {
    serialization: 'advanced',
    execArgv: [`--max-old-space-size=${heapMib}`],
    // Nothing of the service's settings is its business, and what it prints when memory runs out is nobody's.
    env: {},
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const { promise, resolve, reject } = Promise.withResolvers<ReadingAnswer>();
  const giveUp = (what: string) =>
    reject(promptErrors.tooLarge(`Reading takes more ${what} than is given to it.`));
  const timer = setTimeout(() => giveUp('time'), READING_MS + mebibytes * READING_MS_PER_MIB);
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  child.once('message', (answer) => resolve(answer as ReadingAnswer));
  child.on('error', reject);
  // It ends by itself only after its answer, or where it has run out of memory.
  child.once('exit', () => giveUp('memory'));
  child.send(request, (error) => error && child.kill('SIGKILL'));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    child.kill('SIGKILL');
  }
}

let processes = 0;
const waiting: (() => void)[] = [];

/** Waits for a place for a process; the returned function gives it back. */
async function processPlace(): Promise<() => void> {
  if (processes < MAX_PROCESSES) processes += 1;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  return () => {
    const next = waiting.shift();
    if (next) next();
    else processes -= 1;
  };
}

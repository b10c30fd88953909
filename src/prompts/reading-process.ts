/**
 * Reads what is large or comes in a binary format, so that the event loop of the service goes on. It is a process and not
 * a thread, since a damaged file can make the Parquet library fill its heap, and a thread would take the service with it.
 */
import '../base/node-20.ts';
import { type LoradropError, toLoradropError } from '../base/errors.ts';
import { type PromptReading, type ReadOptions, readUnpacked } from './read-unpacked.ts';

/** What the process is sent. */
export type ReadingRequest = { readonly bytes: Uint8Array; readonly options: ReadOptions };

/** What it sends back: the reading, or a failure, whose class would not survive the way. */
export type ReadingAnswer =
  | { readonly reading: PromptReading }
  | { readonly failure: Pick<LoradropError, 'code' | 'title' | 'message' | 'fields'> };

// A terminal's Ctrl-C reaches the whole process group; when to end is the decision of who asked.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
// The Parquet library leaves promises of columns alone that it does not assemble; the reading fails by others.
process.on('unhandledRejection', () => {});
process.once('message', async ({ bytes, options }: ReadingRequest) => {
  const answer = await readUnpacked(bytes, options).then(
    (reading): ReadingAnswer => ({ reading }),
    (error: unknown): ReadingAnswer => {
      const { code, title, message, fields } = toLoradropError(error);
      return { failure: { code, title, message, fields } };
    },
  );
  process.send!(answer, () => process.disconnect());
});

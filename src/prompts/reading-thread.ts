/** The thread that reads what is large or hostile, so that the event loop goes on and the reading can be ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { type LoradropError, toLoradropError } from '../base/errors.ts';
import { type PromptReading, type ReadOptions, readUnpacked } from './read-unpacked.ts';

/** What the thread sends back: the reading, or a failure, whose class would not survive the way. */
export type ThreadAnswer =
  | { readonly reading: PromptReading }
  | { readonly failure: Pick<LoradropError, 'code' | 'title' | 'message' | 'fields'> };

const { bytes, options } = workerData as { bytes: Uint8Array; options: ReadOptions };
const answer = await readUnpacked(bytes, options).then(
  (reading): ThreadAnswer => ({ reading }),
  (error: unknown): ThreadAnswer => {
    const { code, title, message, fields } = toLoradropError(error);
    return { failure: { code, title, message, fields } };
  },
);
parentPort!.postMessage(answer);

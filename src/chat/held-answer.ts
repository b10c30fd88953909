/** An answer that holds a place for as long as the chat process works on it. */
import type { AnswerFacts, AnswerPart } from './question.ts';

/** How a question ended for the chat process: answered, failed, or taken back by whoever asked. */
export type AnswerEnd =
  | { readonly outcome: 'answered'; readonly facts: AnswerFacts }
  | { readonly outcome: 'failed'; readonly error: unknown }
  | { readonly outcome: 'left' };

type Parts = AsyncGenerator<AnswerPart, void, void>;

/**
 * The parts of an answer. `onEnd` is called once: when the process is done with the question, which `ask` tells, however
 * slowly the parts are read; or when it was taken back, because the reader stopped, never read, or `signal` was aborted.
 */
export function heldAnswer(
  ask: (onDone: (end: AnswerEnd) => void) => Parts,
  { signal, onEnd }: { signal: AbortSignal; onEnd: (end: AnswerEnd) => void },
): Parts {
  let isHeld = true;
  let isLeft = false;
  const end = (how: AnswerEnd) => {
    // What was taken back ends as a failure for the process, which is none of anybody's.
    if (isHeld) onEnd(isLeft && how.outcome === 'failed' ? { outcome: 'left' } : how);
    isHeld = false;
  };
  const left = () => end({ outcome: 'left' });
  const source = ask(end);
  let takenBack: Promise<void> | undefined;
  const takeBack = () => {
    isLeft = true;
    takenBack = source.return().then(left, left);
  };
  if (signal.aborted) takeBack();
  else signal.addEventListener('abort', takeBack, { once: true });
  return {
    async next() {
      if (takenBack) {
        await takenBack;
        throw signal.reason;
      }
      try {
        const step = await source.next();
        if (step.done) left();
        return step;
      } catch (error) {
        end({ outcome: 'failed', error });
        throw error;
      }
    },
    async return() {
      isLeft = true;
      try {
        return await source.return();
      } finally {
        left();
      }
    },
    async throw(error) {
      isLeft = true;
      try {
        return await source.throw(error);
      } finally {
        left();
      }
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await this.return();
    },
  };
}

/** What the service and its chat process tell each other. */
import type { AnswerFacts, ChatQuestion } from './question.ts';

/** A failure on its way through the channel; `code` is one of the rooms' error codes. */
export type Failure = {
  readonly code: string;
  readonly detail: string;
  /** For the log, of a failure that nobody foresaw: its type and its stack. Not its message, which may hold the question. */
  readonly where?: string;
};

/** From the service: `open` first and once, then questions, several at a time. */
export type ToChat =
  | {
      readonly type: 'open';
      readonly path: string;
      readonly threads: number;
      /** Most tokens of a conversation and its answer. */
      readonly contextTokens: number;
    }
  | {
      readonly type: 'ask';
      readonly id: number;
      readonly question: ChatQuestion;
      /** A GGUF adapter. */
      readonly adapter?: string;
    }
  | { readonly type: 'cancel'; readonly id: number };

/** From the process: `opened` or `refused` once; of each question any number of `text`, then `done` or `failed`. */
export type FromChat =
  | { readonly type: 'opened' }
  | { readonly type: 'refused'; readonly failure: Failure }
  | { readonly type: 'text'; readonly id: number; readonly text: string }
  | { readonly type: 'done'; readonly id: number; readonly facts: AnswerFacts }
  | { readonly type: 'failed'; readonly id: number; readonly failure: Failure };

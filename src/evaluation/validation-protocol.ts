/** What the validation process is sent, and what it answers. */
import type { LoradropError } from '../base/errors.ts';
import type { RowScore } from './statistics.ts';

/** What the process is sent. */
export type ValidationRequest = {
  /** Paths of the base and the adapter as GGUF, and of the labelled rows as JSON lines. */
  readonly base: string;
  readonly adapter: string;
  readonly rows: string;
  /** Most rows that are scored, drawn with the seed. */
  readonly limit: number;
  /** Rows with more tokens than this are left out. */
  readonly maxRowTokens: number;
  readonly seed: number;
  readonly threads: number;
};

/** The scores of the same rows. */
export type ValidationScores = {
  /** Rows of the file that have labels. */
  readonly labelled: number;
  readonly base: readonly RowScore[];
  readonly adapter: readonly RowScore[];
};

/** What it sends back: the scores, or a failure, whose class would not survive the way. */
export type ValidationAnswer =
  | ValidationScores
  | { readonly failure: Pick<LoradropError, 'code' | 'title' | 'message' | 'retryable'> };

/** What the thread that feeds readers and the one that watches it tell each other. */

/** What the thread is started with. */
export type FuzzWork = {
  /** Fed one after the other, since starting a thread takes longer than a short run: their samples, then changes of them for `ms`. */
  readonly readers: readonly { readonly name: string; readonly ms: number }[];
  readonly seed: number;
  /** Files of the corpus that are left out: they ended a thread before. */
  readonly ignored: readonly string[];
  /** An input that takes more is a failure. */
  readonly maxInputMs: number;
  readonly maxInputBytes: number;
  /** Four numbers: {@link COUNT} and the following. */
  readonly state: Int32Array;
  readonly input: Uint8Array;
};

/** Places in the state: inputs begun for the reader; its number; bytes of the input at hand, and of the name behind it. */
export const [COUNT, READER, LENGTH, NAME] = [0, 1, 2, 3];

/** What the thread tells. `name` is of the sample that the input was made from. */
export type FuzzReport =
  | {
      readonly kind: 'failure';
      readonly reader: string;
      readonly name: string;
      readonly reason: string;
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: 'done';
      readonly reader: string;
      readonly inputs: number;
      readonly refused: number;
      readonly slowestMs: number;
    };

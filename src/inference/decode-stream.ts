/** The engine's side of reading weight tokens: chunks from the child process → the requested blocks. */
import type { TokenBlock } from './engine.ts';
import { CHUNK_FLOATS } from './protocol.ts';

/** Chunks under way or waiting for the reader: 4 MiB, enough that the channel never runs dry between two blocks. */
const WINDOW_CHUNKS = 4;

/** The weight tokens of one finished decode on their way to a reader: the engine pushes chunks, the reader gets blocks. */
export type DecodeStream = {
  /** The asked blocks, each `[count, H, W]`; can be read once. */
  readonly tokens: AsyncIterable<Float32Array>;
  /** Takes the next chunk. */
  push(values: Float32Array): void;
  /** Makes the reader's next step throw, unless it has all it needs. */
  fail(error: unknown): void;
  /** Gives up reading, begun or not. Idempotent. */
  release(): void;
};

/**
 * Opens the stream of one decode. `pull` asks for more chunks, never more than {@link WINDOW_CHUNKS} ahead; `end` is called
 * once, when everything has been read, reading was given up, or it failed.
 */
export function createDecodeStream(options: {
  blocks: readonly TokenBlock[];
  tokenFloats: number;
  pull: (chunks: number) => void;
  end: () => void;
}): DecodeStream {
  const { blocks, tokenFloats, pull, end } = options;
  const totalFloats = blocks.reduce((sum, { count }) => sum + count * tokenFloats, 0);
  const chunks: Float32Array[] = [];
  let failure: { error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let unasked = Math.ceil(totalFloats / CHUNK_FLOATS);
  let ended = false;

  function endOnce(): void {
    if (ended) return;
    ended = true;
    end();
  }

  function ask(count: number): void {
    const asked = Math.min(count, unasked);
    unasked -= asked;
    if (asked > 0) pull(asked);
  }

  async function nextChunk(): Promise<Float32Array> {
    while (chunks.length === 0) {
      if (failure) throw failure.error;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return chunks.shift()!;
  }

  async function* read(): AsyncGenerator<Float32Array> {
    try {
      ask(WINDOW_CHUNKS);
      let chunk: Float32Array = new Float32Array(0);
      for (const { count } of blocks) {
        const block = new Float32Array(count * tokenFloats);
        let filled = 0;
        while (filled < block.length) {
          if (chunk.length === 0) {
            chunk = await nextChunk();
            ask(1);
          }
          const part = chunk.subarray(0, block.length - filled);
          block.set(part, filled);
          filled += part.length;
          chunk = chunk.subarray(part.length);
        }
        yield block;
      }
    } finally {
      endOnce();
    }
  }

  return {
    tokens: read(),
    release() {
      this.fail(new Error('the tokens were released before they were read'));
      endOnce();
    },
    push(values) {
      chunks.push(values);
      wake?.();
    },
    fail(error) {
      failure = { error };
      wake?.();
    },
  };
}

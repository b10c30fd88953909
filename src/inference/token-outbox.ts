/** The child's side of reading tokens: finished decodes, sent piece by piece as far as their readers have room. */
import type { TokenBlock } from './engine.ts';
import { CHUNK_FLOATS } from './protocol.ts';

/** Finished decodes that wait to be read. */
export type TokenOutbox = {
  /** Keeps a decode until its blocks have been sent or it is released. */
  add(id: number, decode: { tokens: Float32Array; tokenFloats: number; blocks: readonly TokenBlock[] }): void;
  /** Lets this many more chunks of a decode be sent. */
  pull(id: number, chunks: number): void;
  /** Forgets a decode. */
  release(id: number): void;
  /**
   * Resolves when no decode is being read: a blocking run would hold up its reader. A reader is waited for until it has let
   * {@link IDLE_MS} pass, and never beyond {@link MAX_HOLD_MS} after its decode, so that a slow one cannot keep the device.
   */
  quiet(): Promise<void>;
};

/** A reader that asks for nothing this long is busy with something else, such as a slow disk. */
const IDLE_MS = 20;
/** Longest a decode may hold up the next: the largest published decoder's 182 MB take less than half of it to send. */
const MAX_HOLD_MS = 2000;

type Reading = {
  readonly tokens: Float32Array;
  readonly tokenFloats: number;
  readonly blocks: readonly TokenBlock[];
  block: number;
  /** Floats of the current block that have been sent. */
  offset: number;
  credit: number;
  sending: boolean;
  readonly addedAtMs: number;
  activeAtMs: number;
};

/** Makes an empty {@link TokenOutbox} whose chunks leave through `send`, which resolves when the channel has taken one. */
export function createTokenOutbox(options: {
  send: (id: number, values: Float32Array) => Promise<void>;
  now?: () => number;
}): TokenOutbox {
  const { send, now = () => performance.now() } = options;
  const readings = new Map<number, Reading>();
  let wake: (() => void) | undefined;

  async function sendChunks(id: number, reading: Reading): Promise<void> {
    if (reading.sending) return;
    reading.sending = true;
    while (reading.credit > 0 && readings.get(id) === reading) {
      reading.credit--;
      await send(id, nextChunk(reading));
      reading.activeAtMs = now();
      if (reading.block === reading.blocks.length) remove(id);
    }
    reading.sending = false;
  }

  function remove(id: number): void {
    readings.delete(id);
    wake?.();
  }

  /** Milliseconds until the last reader worth waiting for will have been idle too long; 0 when there is none. */
  function busyForMs(): number {
    const nowMs = now();
    let lastMs = 0;
    for (const { addedAtMs, activeAtMs, sending } of readings.values()) {
      const idleAtMs = (sending ? nowMs : activeAtMs) + IDLE_MS;
      lastMs = Math.max(lastMs, Math.min(idleAtMs, addedAtMs + MAX_HOLD_MS) - nowMs);
    }
    return lastMs;
  }

  return {
    add(id, decode) {
      if (decode.blocks.some(({ count }) => count > 0)) {
        const nowMs = now();
        readings.set(id, {
          ...decode,
          block: 0,
          offset: 0,
          credit: 0,
          sending: false,
          addedAtMs: nowMs,
          activeAtMs: nowMs,
        });
      }
    },
    pull(id, chunks) {
      const reading = readings.get(id);
      if (!reading) return;
      reading.credit += chunks;
      reading.activeAtMs = now();
      // A send fails only when the parent is gone, and then this process ends.
      sendChunks(id, reading).catch(() => {});
    },
    release: remove,
    async quiet() {
      for (let waitMs = busyForMs(); waitMs > 0; waitMs = busyForMs()) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, waitMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
  };
}

/** Takes the next floats of the asked blocks, at most {@link CHUNK_FLOATS} of them. */
function nextChunk(reading: Reading): Float32Array {
  const { tokens, tokenFloats, blocks } = reading;
  const chunk = new Float32Array(CHUNK_FLOATS);
  let filled = 0;
  while (filled < CHUNK_FLOATS && reading.block < blocks.length) {
    const { start, count } = blocks[reading.block]!;
    const from = start * tokenFloats + reading.offset;
    const floats = Math.min(CHUNK_FLOATS - filled, count * tokenFloats - reading.offset);
    chunk.set(tokens.subarray(from, from + floats), filled);
    filled += floats;
    reading.offset += floats;
    if (reading.offset === count * tokenFloats) {
      reading.block++;
      reading.offset = 0;
    }
  }
  return chunk.subarray(0, filled);
}

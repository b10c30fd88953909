/** The adapters of one engine whose bytes are on their way: written by the child into the spool, read by their callers. */
import type { Region, Spool } from './spool.ts';

/** Bytes a reader is handed at once. */
const PIECE_BYTES = 1 << 20;

/** The bytes of one adapter's tensors. */
export type AdapterStream = {
  /** In the order of the file; can be read once. */
  readonly pieces: AsyncIterable<Uint8Array>;
  /** Gives up reading, begun or not. Idempotent. */
  release(): void;
};

type Entry = {
  readonly region: Region;
  writtenBytes: number;
  /** Whether the child may still write. */
  writing: boolean;
  /** Whether someone may still read. */
  reading: boolean;
  failure?: { readonly error: unknown };
  wake?: () => void;
};

/** The open streams of an engine, by request. A region is given back when it is neither written nor read any more. */
export class AdapterStreams {
  readonly #spool: Spool;
  readonly #entries = new Map<number, Entry>();

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /** Reserves room for a request that the child is about to get, and says where. */
  reserve(id: number, bytes: number): number {
    const region = this.#spool.reserve(bytes);
    this.#entries.set(id, { region, writtenBytes: 0, writing: true, reading: false });
    return region.start;
  }

  /** The stream of a request that the child is about to write. */
  open(id: number): AdapterStream {
    const entry = this.#entries.get(id)!;
    entry.reading = true;
    const release = () => {
      entry.failure ??= { error: new Error('the adapter was released before it was read') };
      entry.reading = false;
      entry.wake?.();
      this.#tidy(id, entry);
    };
    return { pieces: this.#read(entry, release), release };
  }

  /** The child has written this much of a request. */
  noteWritten(id: number, bytes: number): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    entry.writtenBytes = bytes;
    if (bytes === entry.region.bytes) entry.writing = false;
    entry.wake?.();
    this.#tidy(id, entry);
  }

  /** The child writes no more of a request, and not all of it. */
  fail(id: number, error: unknown): void {
    const entry = this.#entries.get(id);
    if (!entry?.writing) return;
    entry.writing = false;
    entry.failure = { error };
    entry.wake?.();
    this.#tidy(id, entry);
  }

  /** The child is gone: readers of what it has not written get this error. */
  failAll(error: unknown): void {
    for (const id of [...this.#entries.keys()]) this.fail(id, error);
  }

  #tidy(id: number, entry: Entry): void {
    if (entry.writing || entry.reading || this.#entries.get(id) !== entry) return;
    this.#entries.delete(id);
    this.#spool.free(entry.region);
  }

  async *#read(entry: Entry, release: () => void): AsyncGenerator<Uint8Array> {
    const { region } = entry;
    try {
      for (let offset = 0; offset < region.bytes; ) {
        // A failure ends the reading of what was not written; a release, of everything.
        while (entry.reading && !entry.failure && entry.writtenBytes === offset) {
          await new Promise<void>((resolve) => {
            entry.wake = resolve;
          });
        }
        const ready = Math.min(PIECE_BYTES, entry.writtenBytes - offset);
        if (!entry.reading || ready === 0) throw entry.failure!.error;
        const piece = await this.#spool.read(region, offset, ready);
        if (!entry.reading) throw entry.failure!.error;
        offset += ready;
        yield piece;
      }
    } finally {
      release();
    }
  }
}

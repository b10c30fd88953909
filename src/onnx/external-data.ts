import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Sha256 } from '../base/digest.ts';
import type { ElementType } from './schema.ts';

/** Where the numbers of a tensor lie in an external data file (ONNX "external data": little-endian, row-major). */
export type ExternalTensor = {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  /** File name beside the model file. */
  readonly location: string;
  readonly offsetBytes: number;
  readonly bytes: number;
};

/** Tensors start on memory pages, so that a runtime can map each of them straight from the file. */
const ALIGNMENT_BYTES = 4096;

/** An external data file being written, tensor after tensor; memory stays bounded by the chunks handed in. */
export class ExternalDataFile {
  readonly #location: string;
  #handle: FileHandle | undefined;
  #endBytes = 0;
  readonly #hash = createHash('sha256');

  private constructor(location: string, handle: FileHandle) {
    this.#location = location;
    this.#handle = handle;
  }

  /** Creates the file, which must not exist. */
  static async create(path: string): Promise<ExternalDataFile> {
    return new ExternalDataFile(basename(path), await open(path, 'wx'));
  }

  /** Appends a tensor from its little-endian bytes, at the next page boundary. */
  async append(
    elementType: ElementType,
    shape: readonly number[],
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<ExternalTensor> {
    if (!this.#handle) throw new Error('The external data file is closed.');
    const offsetBytes = Math.ceil(this.#endBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    // The gap is a hole in the file, which reads as zeros.
    this.#hash.update(new Uint8Array(offsetBytes - this.#endBytes));
    this.#endBytes = offsetBytes;
    for await (const chunk of chunks) {
      this.#hash.update(chunk);
      let written = 0;
      while (written < chunk.length) {
        const { bytesWritten } = await this.#handle.write(
          chunk,
          written,
          chunk.length - written,
          this.#endBytes,
        );
        written += bytesWritten;
        this.#endBytes += bytesWritten;
      }
    }
    return {
      elementType,
      shape,
      location: this.#location,
      offsetBytes,
      bytes: this.#endBytes - offsetBytes,
    };
  }

  /** Flushes to disk and closes, and tells what was written, which nobody need read again for it. */
  async finish(): Promise<{ bytes: number; sha256: Sha256 }> {
    await this.close();
    return { bytes: this.#endBytes, sha256: this.#hash.digest('hex') };
  }

  /** Flushes to disk and closes. Idempotent. */
  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    if (!handle) return;
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

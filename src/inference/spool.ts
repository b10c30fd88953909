/**
 * The file through which adapters' bytes go from the inference process to the engine: one copy into the page cache and one
 * out of it, without a channel that both have to keep up with. Nobody else can open it: it has no name.
 */
import { closeSync, ftruncateSync, openSync, read, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { newId } from '../base/ids.ts';
import { inferenceErrors } from './errors.ts';

const readFile = promisify(read);

/** A file that grew beyond this is cut to nothing once it is empty; below it, its pages serve the next adapters. */
const KEPT_BYTES = 64 << 20;

/** A part of the file that belongs to one adapter. */
export type Region = { readonly start: number; readonly bytes: number };

/** See the file's comment. */
export type Spool = {
  /** For the process that writes. */
  readonly descriptor: number;
  /** The first place where `bytes` fit. */
  reserve(bytes: number): Region;
  /** Gives a region back. */
  free(region: Region): void;
  /** Bytes of a region, from `offset`. */
  read(region: Region, offset: number, bytes: number): Promise<Uint8Array>;
  close(): void;
};

/** Opens one in the system's directory for temporary files. Errors: `no-temporary-space`. */
export function openSpool(directory: string = tmpdir()): Spool {
  const path = join(directory, newId('loradrop'));
  let descriptor: number;
  try {
    descriptor = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
  } catch (cause) {
    throw inferenceErrors.noTemporarySpace('The directory for temporary files cannot be written to.', {
      cause,
    });
  }
  /** Reserved ones, by their places. */
  let regions: Region[] = [];
  let furthest = 0;
  return {
    descriptor,
    reserve(bytes) {
      let start = 0;
      let at = 0;
      for (; at < regions.length && regions[at]!.start - start < bytes; at++) {
        start = regions[at]!.start + regions[at]!.bytes;
      }
      const region = { start, bytes };
      regions = regions.toSpliced(at, 0, region);
      furthest = Math.max(furthest, start + bytes);
      return region;
    },
    free(region) {
      regions = regions.filter((other) => other !== region);
      if (regions.length > 0 || furthest <= KEPT_BYTES) return;
      furthest = 0;
      ftruncateSync(descriptor);
    },
    async read({ start }, offset, bytes) {
      const piece = Buffer.allocUnsafeSlow(bytes);
      for (let done = 0; done < bytes; ) {
        const { bytesRead } = await readFile(descriptor, piece, done, bytes - done, start + offset + done);
        if (bytesRead === 0) throw new Error('the spool is shorter than what was written to it');
        done += bytesRead;
      }
      return piece;
    },
    close: () => closeSync(descriptor),
  };
}

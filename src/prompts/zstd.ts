/** Zstandard as Node has it: from 22.15 on. */
import zlib from 'node:zlib';
import { promptErrors } from './errors.ts';

/** Node's functions for zstd. Errors: `prompts-invalid` where this Node has none. */
export function zstd(): Pick<typeof zlib, 'zstdDecompress' | 'zstdDecompressSync'> {
  if (typeof zlib.zstdDecompress !== 'function') {
    throw promptErrors.invalid(
      'Data compressed with zstd are read on Node 22.15 or newer, and this service runs on an older one: send gzip.',
    );
  }
  return zlib;
}

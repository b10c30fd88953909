/** Compressed bytes as what they hold, bounded. */
import { promisify } from 'node:util';
import { constants, gunzip, type ZlibOptions, type ZstdOptions } from 'node:zlib';
import { LoradropError } from '../base/errors.ts';
import { promptErrors } from './errors.ts';
import { zstd } from './zstd.ts';

/** How bytes can be compressed, by the names that HTTP has for it. */
export const CODINGS = ['gzip', 'zstd'] as const;
/** One of {@link CODINGS}. */
export type Coding = (typeof CODINGS)[number];

/**
 * Largest window of a zstd frame, as a power of two: 32 MiB. What is unpacked is smaller than that by default, and a frame
 * that asks for more would take the memory before it has shown a byte.
 */
const MAX_WINDOW_LOG = 25;
/** Frames of one zstd file: a tool that compresses in parallel writes one a few MiB. */
const MAX_FRAMES = 4096;

/** The compression that the first bytes show, or undefined. No UTF-8 text and no Parquet file begins like that. */
export function codingOf(bytes: Uint8Array): Coding | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  // A frame, or a skippable frame (0x184D2A50 … 5F), which parallel compressors write first.
  const [a = 0, b, c, d] = bytes;
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  return a >> 4 === 5 && b === 0x2a && c === 0x4d && d === 0x18 ? 'zstd' : undefined;
}

/**
 * What compressed bytes hold: all members of a gzip file, all frames of a zstd file. Runs beside the event loop. Errors:
 * `prompts-too-large` above `maxBytes`, `prompts-invalid` for damaged or cut off bytes.
 */
export async function unpack(bytes: Uint8Array, coding: Coding, maxBytes: number): Promise<Buffer> {
  try {
    if (coding === 'gzip') return await promisify(gunzip)(bytes, { maxOutputLength: maxBytes });
    return await unpackFrames(bytes, maxBytes);
  } catch (cause) {
    if (cause instanceof LoradropError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(maxBytes);
    throw promptErrors.invalid(`The ${coding} data is damaged or cut off.`, { cause });
  }
}

/** The failure for bytes that unpack to more than `maxBytes`. */
export function tooLarge(maxBytes: number) {
  return promptErrors.tooLarge(`Unpacked there are more than ${maxBytes} bytes.`);
}

/** Node stops after the first frame and says nothing of the rest, so that half a file would be lost in silence. */
async function unpackFrames(bytes: Uint8Array, maxBytes: number): Promise<Buffer> {
  const params = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
  const parts: Buffer[] = [];
  let size = 0;
  let offset = 0;
  for (let frame = 0; offset < bytes.length; frame++) {
    if (frame === MAX_FRAMES) throw tooLarge(maxBytes);
    const left = Math.max(1, maxBytes - size);
    const { buffer, consumed } = await unpackFrame(bytes.subarray(offset), { params, maxOutputLength: left });
    size += buffer.length;
    offset += consumed;
    if (size > maxBytes) throw tooLarge(maxBytes);
    if (consumed === 0) throw new Error('A frame has no bytes.');
    parts.push(buffer);
  }
  return Buffer.concat(parts);
}

/** With `info`, Node gives the stream along, which counts the bytes that it took. Its types do not know that. */
type WithInfo = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };

async function unpackFrame(bytes: Uint8Array, options: ZstdOptions & ZlibOptions) {
  const outcome = await promisify(zstd().zstdDecompress)(bytes, { ...options, info: true });
  const { buffer, engine } = outcome as unknown as WithInfo;
  return { buffer, consumed: engine.bytesWritten };
}

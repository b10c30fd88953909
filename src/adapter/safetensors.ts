/**
 * Reading and writing safetensors files: eight bytes of header length, a JSON header, then the tensors' bytes without gaps
 * (https://huggingface.co/docs/safetensors). Both directions keep memory bounded, whatever the file's size. What a header may
 * say is in `safetensors-header.ts`.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { DTYPE_BYTES, type Dtype } from '../base/dtype.ts';
import { adapterErrors } from './errors.ts';
import {
  LENGTH_BYTES,
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  quote,
  SAFETENSORS_DTYPE_BITS,
  type SafetensorsHeader,
} from './safetensors-header.ts';
import { DTYPE_NAMES, decodeTensor, encodeTensor } from './tensor-bytes.ts';

/** Bytes `stream` hands out at once: large enough that the number of reads does not count, small beside a tensor. */
export const DEFAULT_CHUNK_BYTES = 1 << 20;

/** An open file. Its tensors are read when asked for. */
export type SafetensorsFile = {
  readonly header: SafetensorsHeader;
  /** A whole BF16, F16 or F32 tensor in row-major order as float32. Errors: `safetensors-invalid`. */
  read(name: string, options?: { signal?: AbortSignal }): Promise<Float32Array>;
  /**
   * A tensor's bytes in chunks of a whole number of elements, each in memory of its own and at most `chunkBytes` long
   * ({@link DEFAULT_CHUNK_BYTES} when absent). Errors: `safetensors-invalid`.
   */
  stream(
    name: string,
    options?: { chunkBytes?: number; signal?: AbortSignal },
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;
  /** Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Opens a file and checks its header against its size. Errors: `safetensors-invalid` naming the tensor and the reason;
 * the system's own errors when the file cannot be opened.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path, 'r');
  try {
    const header = await readHeader(file);
    return safetensorsFile(file, header);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeader(file: FileHandle): Promise<SafetensorsHeader> {
  const facts = await file.stat();
  if (!facts.isFile()) throw adapterErrors.safetensors('It is not a regular file.');
  const { size } = facts;
  if (size < LENGTH_BYTES)
    throw adapterErrors.safetensors(`The file has ${size} bytes, too few for a header.`);
  const length = new DataView((await readAt(file, 0, LENGTH_BYTES)).buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw adapterErrors.safetensors(`The header claims ${length} bytes; ${MAX_HEADER_BYTES} are the limit.`);
  }
  const dataStart = LENGTH_BYTES + Number(length);
  if (dataStart > size) {
    throw adapterErrors.safetensors(
      `The header claims ${length} bytes, more than the ${size - LENGTH_BYTES} behind its length: the file is cut off or not of this format.`,
    );
  }
  return parseSafetensorsHeader(await readAt(file, LENGTH_BYTES, Number(length)), size - dataStart);
}

function safetensorsFile(file: FileHandle, header: SafetensorsHeader): SafetensorsFile {
  const byName = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string) => {
    const tensor = byName.get(name);
    if (!tensor) throw adapterErrors.safetensors(`The file has no tensor ${quote(name)}.`);
    return tensor;
  };
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= file.close();
    return closing;
  };
  return {
    header,
    async read(name, { signal } = {}) {
      const tensor = find(name);
      const bytes = await readAt(file, tensor.start, tensor.bytes, signal);
      return decodeTensor(name, bytes, tensor.dtype);
    },
    async *stream(name, { chunkBytes = DEFAULT_CHUNK_BYTES, signal } = {}) {
      const { bytes, dtype, start } = find(name);
      const width = Math.ceil(SAFETENSORS_DTYPE_BITS[dtype] / 8);
      const step = Math.max(width, chunkBytes - (chunkBytes % width));
      for (let offset = 0; offset < bytes; offset += step) {
        yield await readAt(file, start + offset, Math.min(step, bytes - offset), signal);
      }
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Most bytes of one read: the system call takes no more than 2 GiB, and an abort shows between two reads. */
const MAX_READ_BYTES = 1 << 26;

async function readAt(
  file: FileHandle,
  position: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(
      bytes,
      done,
      Math.min(length - done, MAX_READ_BYTES),
      position + done,
    );
    if (bytesRead === 0) throw adapterErrors.safetensors('The file has become shorter while it was read.');
    done += bytesRead;
  }
  return bytes;
}

/** A tensor to be written. */
export type TensorToWrite = { readonly name: string; readonly shape: readonly number[] };

/** Metadata of a file that PyTorch code reads; transformers and PEFT look for it. */
export const PYTORCH_METADATA: Readonly<Record<string, string>> = { format: 'pt' };

/**
 * The bytes before the first tensor: length and header, padded with spaces to a multiple of eight. Tensors lie in the given
 * order; of tensors sorted by name the bytes equal those of the reference library. `totalBytes` is the size of the whole file.
 * Errors: `safetensors-invalid` when a name occurs twice.
 */
export function safetensorsHeader(
  tensors: readonly TensorToWrite[],
  dtype: Dtype,
  metadata: Readonly<Record<string, string>> = PYTORCH_METADATA,
): { readonly bytes: Uint8Array; readonly totalBytes: number } {
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata]);
  let end = 0;
  const names = new Set<string>();
  for (const { name, shape } of tensors) {
    if (names.has(name)) throw adapterErrors.safetensors(`${quote(name)} occurs twice.`);
    names.add(name);
    const start = end;
    end += elementCount(shape) * DTYPE_BYTES[dtype];
    entries.push([name, { dtype: DTYPE_NAMES[dtype], shape, data_offsets: [start, end] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(LENGTH_BYTES + padded).fill(0x20, LENGTH_BYTES + json.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, LENGTH_BYTES);
  return { bytes, totalBytes: bytes.length + end };
}

function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, side) => product * side, 1);
}

/** A whole file, piece by piece, from the bytes of all tensors in their order. Errors: whatever `bytes` throws. */
export async function* writeTensorBytes(
  tensors: readonly TensorToWrite[],
  bytes: AsyncIterable<Uint8Array>,
  dtype: Dtype,
): AsyncGenerator<Uint8Array, void, void> {
  yield safetensorsHeader(tensors, dtype).bytes;
  yield* bytes;
}

/**
 * A whole file, piece by piece. `values` brings the numbers of `tensors` in their order, each tensor in one array or in
 * several; nothing but the array at hand is kept. Errors: `adapter-not-finite` naming the tensor; `safetensors-invalid`
 * when the values are more or fewer than the shapes say; whatever `values` throws.
 */
export async function* writeSafetensors(
  tensors: readonly TensorToWrite[],
  values: AsyncIterable<Float32Array> | Iterable<Float32Array>,
  options: {
    dtype: Dtype;
    metadata?: Readonly<Record<string, string>>;
    signal?: AbortSignal;
  },
): AsyncGenerator<Uint8Array, void, void> {
  const { dtype, metadata, signal } = options;
  yield safetensorsHeader(tensors, dtype, metadata).bytes;
  const queue = tensors
    .map(({ name, shape }) => ({ name, missing: elementCount(shape) }))
    .filter(({ missing }) => missing > 0);
  let index = 0;
  for await (const piece of values) {
    signal?.throwIfAborted();
    if (piece.length === 0) continue;
    const tensor = queue[index];
    if (!tensor || piece.length > tensor.missing) {
      throw adapterErrors.safetensors(
        tensor
          ? `${quote(tensor.name)} lacks ${tensor.missing} numbers, and ${piece.length} came.`
          : 'More numbers came than the tensors take.',
      );
    }
    yield encodeTensor(tensor.name, piece, dtype);
    tensor.missing -= piece.length;
    if (tensor.missing === 0) index++;
  }
  const open = queue[index];
  if (open) throw adapterErrors.safetensors(`${quote(open.name)} lacks ${open.missing} numbers at the end.`);
}

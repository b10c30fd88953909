/**
 * Reading and writing safetensors files: eight bytes of header length, a JSON header, then the tensors' bytes without gaps
 * (https://huggingface.co/docs/safetensors). Both directions keep memory bounded, whatever the file's size.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { DTYPE_BYTES, type Dtype } from '../base/dtype.ts';
import { adapterErrors } from './errors.ts';
import { DTYPE_NAMES, decodeTensor, encodeTensor } from './tensor-bytes.ts';

/** Most tensors of a file: a pair for each of 64 modules in 1,024 layers, the largest layout there may be. */
export const MAX_TENSORS = 131_072;
/** Largest header: room for {@link MAX_TENSORS} descriptions of 256 bytes. The format itself allows 100 MB. */
export const MAX_HEADER_BYTES = MAX_TENSORS * 256;
/** Longest tensor name; real ones have about 70 characters. */
export const MAX_NAME_LENGTH = 512;
/** Most axes of a tensor; convolution kernels have four. */
export const MAX_RANK = 8;
/** Bytes `stream` hands out at once: large enough that the number of reads does not count, small beside a tensor. */
export const DEFAULT_CHUNK_BYTES = 1 << 20;

/** Bytes an element takes, by the format's name for it. */
export const SAFETENSORS_DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;
/** A format a tensor may have in a file. */
export type SafetensorsDtype = keyof typeof SAFETENSORS_DTYPE_BYTES;

/** One tensor of a file. */
export type SafetensorsTensor = {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Place of its first byte, counted from the start of the file. */
  readonly start: number;
  readonly bytes: number;
};

/** What a file says about itself. */
export type SafetensorsHeader = {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their bytes in the file. */
  readonly tensors: readonly SafetensorsTensor[];
};

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
    throw adapterErrors.safetensors(`The header claims ${length} bytes, more than the file has.`);
  }
  return parseSafetensorsHeader(await readAt(file, LENGTH_BYTES, Number(length)), size - dataStart);
}

const LENGTH_BYTES = 8;

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
      const width = SAFETENSORS_DTYPE_BYTES[dtype];
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

const TensorEntry = Compile(
  Type.Object(
    {
      dtype: Type.String(),
      shape: Type.Array(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), {
        maxItems: MAX_RANK,
      }),
      data_offsets: Type.Tuple([
        Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
        Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
      ]),
    },
    { additionalProperties: false },
  ),
);
const Metadata = Compile(Type.Record(Type.String(), Type.String()));

/**
 * The header in the JSON bytes that follow the length, checked against the bytes of data behind it: known dtypes, shapes
 * that multiply to the bytes they are given, and tensors that fill the data without gap or overlap.
 * Errors: `safetensors-invalid` naming the tensor and the reason.
 */
export function parseSafetensorsHeader(json: Uint8Array, dataBytes: number): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + json.length;
  const { __metadata__: metadata = {}, ...entries } = parseObject(json);
  if (!Metadata.Check(metadata)) {
    throw adapterErrors.safetensors('The metadata is not an object of strings.');
  }
  const names = Object.keys(entries);
  if (names.length > MAX_TENSORS) {
    throw adapterErrors.safetensors(`The file has ${names.length} tensors; ${MAX_TENSORS} are the limit.`);
  }
  const tensors = names
    .map((name) => parseEntry(name, entries[name], dataStart))
    .sort((a, b) => a.start - b.start || a.bytes - b.bytes);
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.start !== end) {
      throw adapterErrors.safetensors(
        `${quote(tensor.name)} begins ${tensor.start < end ? 'inside the tensor' : 'after a gap behind the bytes'} before it.`,
      );
    }
    end += tensor.bytes;
  }
  if (end - dataStart !== dataBytes) {
    throw adapterErrors.safetensors(
      `The tensors take ${end - dataStart} bytes, and the file has ${dataBytes} for them.`,
    );
  }
  return { metadata, tensors };
}

function parseObject(json: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json));
  } catch (cause) {
    throw adapterErrors.safetensors('The header is not JSON in UTF-8.', { cause });
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw adapterErrors.safetensors('The header is not a JSON object.');
  }
  return value as Record<string, unknown>;
}

function parseEntry(name: string, entry: unknown, dataStart: number): SafetensorsTensor {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) {
    throw adapterErrors.safetensors(
      `A tensor has a name of ${name.length} characters; 1 to ${MAX_NAME_LENGTH} can be used.`,
    );
  }
  if (!TensorEntry.Check(entry)) {
    const [first] = TensorEntry.Errors(entry);
    throw adapterErrors.safetensors(
      `${quote(name)}: ${first?.instancePath || 'its entry'} ${first?.message}.`,
    );
  }
  const { dtype, shape } = entry;
  if (!isSafetensorsDtype(dtype)) {
    throw adapterErrors.safetensors(`${quote(name)} has the unknown dtype ${quote(dtype)}.`);
  }
  const [start, end] = entry.data_offsets;
  const wanted = shape.reduce((product, side) => product * side, SAFETENSORS_DTYPE_BYTES[dtype]);
  if (!Number.isSafeInteger(wanted) || end - start !== wanted) {
    throw adapterErrors.safetensors(
      `${quote(name)} has ${end - start} bytes, and its shape [${shape.join(', ')}] in ${dtype} takes ${wanted}.`,
    );
  }
  return { name, dtype, shape, start: dataStart + start, bytes: wanted };
}

function isSafetensorsDtype(dtype: string): dtype is SafetensorsDtype {
  return Object.hasOwn(SAFETENSORS_DTYPE_BYTES, dtype);
}

/** Text of the file's in a message: escaped, and short whatever its length. */
function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

/** A tensor to be written. */
export type TensorToWrite = { readonly name: string; readonly shape: readonly number[] };

/** Metadata of a file that PyTorch code reads; transformers and PEFT look for it. */
export const PYTORCH_METADATA: Readonly<Record<string, string>> = { format: 'pt' };

/**
 * The bytes before the first tensor: length and header, padded with spaces to a multiple of eight. With tensors sorted by
 * name, as here demanded, they equal those of the reference library. `totalBytes` is the size of the whole file.
 * Errors: `safetensors-invalid` when the order is another or a name occurs twice.
 */
export function safetensorsHeader(
  tensors: readonly TensorToWrite[],
  dtype: Dtype,
  metadata: Readonly<Record<string, string>> = PYTORCH_METADATA,
): { readonly bytes: Uint8Array; readonly totalBytes: number } {
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata]);
  let end = 0;
  let previous = '';
  for (const { name, shape } of tensors) {
    if (name <= previous) {
      throw adapterErrors.safetensors(`${quote(name)} does not come after ${quote(previous)} in name order.`);
    }
    previous = name;
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

/** The header of a safetensors file: what it may say, and what of it is refused. Source: the library `safetensors` 0.8. */
import { adapterErrors } from './errors.ts';
import { countOf, isJsonObject, type JsonObject, type JsonValue, parseHeaderJson } from './header-json.ts';

/** Bytes of the header's length, before the header. */
export const LENGTH_BYTES = 8;
/** Most tensors of a file: a pair for each of 64 modules in 1,024 layers, the largest layout there may be. */
export const MAX_TENSORS = 131_072;
/** Largest header: room for {@link MAX_TENSORS} descriptions of 256 bytes. The format itself allows 100 MB. */
export const MAX_HEADER_BYTES = MAX_TENSORS * 256;
/** Longest tensor name; real ones have about 70 characters. */
export const MAX_NAME_LENGTH = 512;
/** Most axes of a tensor; convolution kernels have four. */
export const MAX_RANK = 8;

/** Bits an element takes, by the format's name for it: all that the reference library knows. */
export const SAFETENSORS_DTYPE_BITS = {
  C64: 64,
  F64: 64,
  F32: 32,
  F16: 16,
  BF16: 16,
  F8_E4M3: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2: 8,
  F8_E5M2FNUZ: 8,
  F8_E8M0: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
  I64: 64,
  U64: 64,
  I32: 32,
  U32: 32,
  I16: 16,
  U16: 16,
  I8: 8,
  U8: 8,
  BOOL: 8,
} as const;
/** A format a tensor may have in a file. */
export type SafetensorsDtype = keyof typeof SAFETENSORS_DTYPE_BITS;

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

const METADATA = '__metadata__';
/** What the reference library counts elements and bits in. */
const MAX_U64 = 2n ** 64n - 1n;

const refuse = adapterErrors.safetensors;

/**
 * The header in the JSON bytes that follow the length, checked against the bytes of data behind it: known dtypes, shapes
 * that multiply to the bytes they are given, and tensors that fill the data without gap or overlap. As in the reference
 * library, fields of a tensor that the format does not know mean nothing, and of a name that is there twice the last counts.
 * Errors: `safetensors-invalid` naming the tensor and the reason.
 */
export function parseSafetensorsHeader(json: Uint8Array, dataBytes: number): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + json.length;
  const header = parseHeaderJson(json);
  if (!isJsonObject(header)) throw refuse('The header is not a JSON object.');
  const entries = new Map(header.pairs);
  const metadata = metadataOf(header);
  entries.delete(METADATA);
  if (entries.size > MAX_TENSORS) {
    throw refuse(`The file has ${entries.size} tensors; ${MAX_TENSORS} are the limit.`);
  }
  const tensors = [...entries]
    .map(([name, entry]) => parseEntry(name, entry, dataStart))
    .sort((a, b) => a.start - b.start || a.bytes - b.bytes);
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.start !== end) {
      throw refuse(
        `${quote(tensor.name)} begins ${tensor.start < end ? 'inside the tensor' : 'after a gap behind the bytes'} before it.`,
      );
    }
    end += tensor.bytes;
  }
  if (end - dataStart !== dataBytes) {
    throw refuse(`The tensors take ${end - dataStart} bytes, and the file has ${dataBytes} for them.`);
  }
  return { metadata, tensors };
}

function metadataOf({ pairs }: JsonObject): Record<string, string> {
  const found = pairs.filter(([name]) => name === METADATA);
  if (found.length > 1) throw refuse('The metadata is there twice.');
  const metadata = found[0]?.[1] ?? null;
  if (metadata === null) return {};
  const entries = isJsonObject(metadata) ? metadata.pairs : undefined;
  if (!entries?.every((pair): pair is [string, string] => typeof pair[1] === 'string')) {
    throw refuse('The metadata is not an object of strings.');
  }
  return Object.fromEntries(entries);
}

function parseEntry(name: string, entry: JsonValue, dataStart: number): SafetensorsTensor {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) {
    throw refuse(`A tensor has a name of ${name.length} characters; 1 to ${MAX_NAME_LENGTH} can be used.`);
  }
  const field = (key: 'dtype' | 'shape' | 'data_offsets'): JsonValue => {
    const found = isJsonObject(entry) ? entry.pairs.filter(([own]) => own === key) : [];
    if (found.length === 1) return found[0]![1];
    throw refuse(`${quote(name)} has ${found.length > 1 ? 'more than one' : 'no'} ${key}.`);
  };
  const dtype = field('dtype');
  if (typeof dtype !== 'string' || !isSafetensorsDtype(dtype)) {
    throw refuse(`${quote(name)} has the unknown dtype ${quote(typeof dtype === 'string' ? dtype : '')}.`);
  }
  const shape = countsOf(field('shape'));
  if (!shape || shape.length > MAX_RANK) {
    throw refuse(`${quote(name)} has a shape that is not a list of at most ${MAX_RANK} whole numbers.`);
  }
  const offsets = countsOf(field('data_offsets'));
  if (offsets?.length !== 2) {
    throw refuse(`${quote(name)} has data_offsets that are not two whole numbers.`);
  }
  const [start, end] = offsets as [number, number];
  const bits = bitsOf(name, shape, dtype);
  if (bits % 8n !== 0n) throw refuse(`${quote(name)} of ${dtype} does not end at a whole byte.`);
  const bytes = end - start;
  if (BigInt(bytes) !== bits / 8n) {
    throw refuse(
      `${quote(name)} has ${bytes} bytes, and its shape [${shape.join(', ')}] in ${dtype} takes ${bits / 8n}.`,
    );
  }
  return { name, dtype, shape, start: dataStart + start, bytes };
}

/** The bits of all elements. Each product on the way counts, also of sides that a 0 follows: no file needs such ones. */
function bitsOf(name: string, shape: readonly number[], dtype: SafetensorsDtype): bigint {
  let product = 1n;
  for (const factor of [...shape, SAFETENSORS_DTYPE_BITS[dtype]]) {
    product *= BigInt(factor);
    if (product > MAX_U64)
      throw refuse(`${quote(name)} has more elements than can be counted: [${shape.join(', ')}].`);
  }
  return product;
}

function countsOf(value: JsonValue): number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const counts = (value as readonly JsonValue[]).map(countOf);
  return counts.every((count) => count !== undefined) ? counts : undefined;
}

function isSafetensorsDtype(dtype: string): dtype is SafetensorsDtype {
  return Object.hasOwn(SAFETENSORS_DTYPE_BITS, dtype);
}

/** Text of the file's in a message: escaped, and short whatever its length. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

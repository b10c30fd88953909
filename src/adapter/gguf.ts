/**
 * Adapters as GGUF files, version 3, the form llama.cpp loads: metadata, a table of tensors, then their bytes, each tensor
 * at a multiple of {@link ALIGNMENT} (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). All integers are
 * little-endian.
 */
import { DTYPE_BYTES } from '../base/dtype.ts';
import type { GgufBase } from '../base/gguf-base.ts';
import type { AttentionHeads, LoraLayout } from '../lora/layout.ts';
import { adapterErrors } from './errors.ts';
import {
  findArchitecture,
  type GgufTarget,
  type GgufTensor,
  ggufModuleName,
  ggufTensorName,
  reordersRows,
} from './gguf-architecture.ts';
import { encodeTensor } from './tensor-bytes.ts';

/** Formats a GGUF adapter can be written in. */
export const GGUF_DTYPES = ['f16', 'f32'] as const;
/** One of {@link GGUF_DTYPES}. */
export type GgufDtype = (typeof GGUF_DTYPES)[number];

/** Where tensors may begin, in bytes; what readers take when a file does not say otherwise. */
const ALIGNMENT = 32;
/** `ggml_type` of each format. */
const GGML_TYPES: Readonly<Record<GgufDtype, number>> = { f32: 0, f16: 1 };
/** Metadata value types. */
const [FLOAT32, STRING] = [6, 8];

/**
 * Whether adapters of this layout go onto that base: the architecture, as the bundle calls it, the layers, and the width of
 * every module. Errors: `gguf-unsupported`, `adapter-mismatch` with each difference as a field.
 */
export function checkGgufBase(
  { architecture, layout }: Pick<GgufTarget, 'architecture'> & { readonly layout: LoraLayout },
  base: GgufBase,
): void {
  const { name } = findArchitecture(architecture);
  if (name !== base.architecture) {
    throw adapterErrors.mismatch(
      `The adapters are for a base of the architecture ${name}, and this one's is ${base.architecture}.`,
    );
  }
  const { hidden, ffn, heads, kvHeads, keyWidth, valueWidth } = base;
  const widths: Readonly<Record<string, readonly [number, number]>> = {
    attn_q: [hidden, heads * keyWidth],
    attn_k: [hidden, kvHeads * keyWidth],
    attn_v: [hidden, kvHeads * valueWidth],
    attn_output: [heads * valueWidth, hidden],
    ffn_gate: [hidden, ffn],
    ffn_up: [hidden, ffn],
    ffn_down: [ffn, hidden],
  };
  const fields: { pointer: string; message: string }[] = [];
  if (layout.layers !== base.layers) {
    fields.push({ pointer: '/layers', message: `are ${layout.layers}, and the base has ${base.layers}` });
  }
  for (const [index, module] of layout.modules.entries()) {
    const [wantedIn, wantedOut] = widths[ggufModuleName(module.path)]!;
    if (module.in !== wantedIn || module.out !== wantedOut) {
      fields.push({
        pointer: `/modules/${index}`,
        message: `${module.path} is ${module.in} → ${module.out}, and the base's is ${wantedIn} → ${wantedOut}`,
      });
    }
  }
  if (fields.length > 0) {
    throw adapterErrors.mismatch(
      "The layout's dimensions are not the base's: the bundle makes adapters for another model.",
      { fields },
    );
  }
}

/** How an adapter is written. */
export type GgufOptions = {
  readonly dtype: GgufDtype;
  /** As the bundle calls it: `llama`, `qwen2`, `qwen2_5_vl`. */
  readonly architecture: string;
  readonly alpha: number;
  /** Needed where {@link reordersRows}. */
  readonly heads?: AttentionHeads;
};

/**
 * A whole file, piece by piece. `matrices` brings each of `tensors` in one row-major array, in their order; nothing but the
 * array at hand is kept. B of q and k is reordered where the base's own rows are. Errors: those of {@link ggufHeader};
 * `adapter-mismatch` for matrices of another size or number than the tensors; `adapter-not-finite` naming the tensor;
 * whatever `matrices` throws.
 */
export async function* writeGguf(
  tensors: readonly GgufTensor[],
  matrices: AsyncIterable<Float32Array> | Iterable<Float32Array>,
  options: GgufOptions & { readonly signal?: AbortSignal },
): AsyncGenerator<Uint8Array, void, void> {
  const { dtype, signal } = options;
  const { bytes: header } = ggufHeader(tensors, options);
  yield header;
  let index = 0;
  for await (const matrix of matrices) {
    signal?.throwIfAborted();
    const tensor = tensors[index++];
    if (matrix.length !== (tensor ? elements(tensor) : 0) || !tensor) {
      throw adapterErrors.mismatch(
        `${tensor ? `${tensor.name} takes ${elements(tensor)} numbers` : 'Every tensor is written'}, and ${matrix.length} came.`,
      );
    }
    const count = reorderedHeads(tensor, options);
    const rows = count > 0 ? reorderRows(matrix, tensor.shape, count) : matrix;
    const bytes = encodeTensor(ggufTensorName(tensor), rows, dtype);
    yield bytes;
    const gap = aligned(bytes.length) - bytes.length;
    if (gap > 0) yield new Uint8Array(gap);
  }
  if (index < tensors.length) {
    throw adapterErrors.mismatch(`${index} matrices came for ${tensors.length} tensors.`);
  }
}

/**
 * Heads whose rows are reordered: those of q and k, 0 for the other matrices. Errors: `gguf-heads-unknown`,
 * `adapter-mismatch`.
 */
function reorderedHeads({ module, side, shape: [rows] }: GgufTensor, options: GgufOptions): number {
  if (side === 'A' || !reordersRows(options.architecture)) return 0;
  const name = ggufModuleName(module.path);
  if (name !== 'attn_q' && name !== 'attn_k') return 0;
  if (!options.heads) throw adapterErrors.headsUnknown('It is needed for the rows of q and k.');
  const count = name === 'attn_q' ? options.heads.heads : options.heads.kvHeads;
  if (rows % (2 * count) !== 0) {
    throw adapterErrors.mismatch(`${count} heads do not divide ${rows} rows into pairs.`);
  }
  return count;
}

/**
 * The rows of each head from [first half | second half] to alternating ones: row `h + 2j + s` is what was row
 * `h + s · half + j` (what llama.cpp's converter does to the weights of q and k that these rows are added to).
 */
function reorderRows(matrix: Float32Array, [rows, columns]: readonly [number, number], heads: number) {
  const half = rows / heads / 2;
  const out = new Float32Array(matrix.length);
  for (let head = 0; head < rows; head += 2 * half) {
    for (let s = 0; s < 2; s++) {
      for (let j = 0; j < half; j++) {
        const from = (head + s * half + j) * columns;
        out.set(matrix.subarray(from, from + columns), (head + 2 * j + s) * columns);
      }
    }
  }
  return out;
}

const elements = ({ shape }: GgufTensor) => shape[0] * shape[1];
const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/**
 * Everything before the first tensor's bytes, padded, and the size of the whole file. Errors: `gguf-unsupported` for what
 * GGUF has no name for, `gguf-heads-unknown`, `adapter-mismatch` for heads that do not divide a matrix or an alpha of 0.
 */
export function ggufHeader(
  tensors: readonly GgufTensor[],
  options: GgufOptions,
): { readonly bytes: Uint8Array; readonly totalBytes: number } {
  const { alpha, dtype } = options;
  const { name: architecture } = findArchitecture(options.architecture);
  for (const tensor of tensors) reorderedHeads(tensor, options);
  // llama.cpp reads an alpha of 0 as none, which scales with 1.
  if (Math.fround(alpha) === 0) throw adapterErrors.mismatch('An alpha of 0 has no form in GGUF.');
  const metadata: readonly (readonly [string, string | number])[] = [
    ['general.type', 'adapter'],
    ['general.architecture', architecture],
    ['adapter.type', 'lora'],
    ['adapter.lora.alpha', alpha],
  ];
  const parts: Uint8Array[] = [
    new TextEncoder().encode('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
  ];
  for (const [key, value] of metadata) {
    parts.push(text(key));
    if (typeof value === 'string') parts.push(u32(STRING), text(value));
    else parts.push(u32(FLOAT32), new Uint8Array(new Float32Array([value]).buffer));
  }
  let offset = 0;
  for (const tensor of tensors) {
    const [rows, columns] = tensor.shape;
    // GGUF counts axes from the one whose numbers are neighbours.
    parts.push(text(ggufTensorName(tensor)), u32(2), u64(columns), u64(rows));
    parts.push(u32(GGML_TYPES[dtype]), u64(offset));
    offset += aligned(elements(tensor) * DTYPE_BYTES[dtype]);
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(aligned(length));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, totalBytes: bytes.length + offset };
}

function u32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

function u64(value: number): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);
}

function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  const out = new Uint8Array(8 + bytes.length);
  out.set(u64(bytes.length));
  out.set(bytes, 8);
  return out;
}

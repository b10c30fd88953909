/** PEFT adapters → GGUF, tensor by tensor, from the bytes of their safetensors. */
import { LAYER_PATH, layerPathOf } from '../lora/bases.ts';
import type { LoraModule } from '../lora/layout.ts';
import { adapterErrors } from './errors.ts';
import { type GgufDtype, type GgufOptions, ggufHeader, writeGguf } from './gguf.ts';
import { checkGgufTarget, type GgufTarget, type GgufTensor, reordersRows } from './gguf-architecture.ts';
import type { PeftFacts, PeftFiles } from './peft-files.ts';
import { type PeftConfig, parsePeftConfig, plainAlpha } from './read-peft-config.ts';
import { openTensors, type TensorStream } from './read-tensors.ts';
import type { SafetensorsTensor } from './safetensors-header.ts';
import { decodeTensor } from './tensor-bytes.ts';

/** Name of the file that is kept beside the safetensors of an adapter. */
export const ADAPTER_GGUF_FILE = 'adapter.gguf';
/** The format in which that file is kept, and the default of conversions. */
export const STORED_GGUF_DTYPE: GgufDtype = 'f16';
/** Raised whenever the same adapter would give other bytes than before. */
const CONVERSION_VERSION = 1;

/** What a conversion depends on beside the adapter's own files. */
export type Conversion = { readonly dtype: GgufDtype; readonly target: GgufTarget };

/** An adapter as a GGUF file of which nothing has been made but the header. */
export type GgufFile = {
  /** Exact size. */
  readonly bytes: number;
  readonly tensors: number;
  readonly alpha: number;
  /**
   * The file, or the bytes `start`…`end` of it, both inclusive: the same ones every time, made while they are read. Errors:
   * `adapter-not-finite` for a number beyond `dtype`, those of the weights.
   */
  read(options?: {
    range?: { readonly start: number; readonly end: number };
    signal?: AbortSignal;
  }): Promise<AsyncIterable<Uint8Array>>;
};

/** What {@link openGguf} and {@link convertToGguf} make is the same where this and the adapter's files are the same. */
export function conversionKey({ dtype, target: { architecture, heads } }: Conversion): object {
  return {
    conversion: CONVERSION_VERSION,
    dtype,
    architecture,
    heads: reordersRows(architecture) && heads ? [heads.heads, heads.kvHeads] : null,
  };
}

/**
 * Reads the headers of an adapter's files and decides all of its conversion. Errors: `gguf-unsupported`,
 * `gguf-heads-unknown`, `adapter-mismatch` and `safetensors-invalid` for files that are no plain LoRA adapter of the
 * target; those of the weights.
 */
export async function openGguf(files: PeftFiles, conversion: Conversion): Promise<GgufFile> {
  const { config, weightBytes } = files;
  const peft = parsePeftConfig(config);
  await using stream = await openTensors(await files.openWeights(), weightBytes);
  const tensors = ggufTensors(stream, peft, conversion.target);
  const options = writeOptions(peft, conversion);
  return {
    bytes: ggufHeader(tensors, options).totalBytes,
    tensors: tensors.length,
    alpha: options.alpha,
    async read({ range, signal } = {}) {
      const content = convertFiles(files, { ...conversion, ...(signal && { signal }) });
      return range ? cut(content, range) : content;
    },
  };
}

/** Opens the weights only when the first byte is wanted, so that nothing stays open of a stream that is never begun. */
async function* convertFiles(files: PeftFiles, options: Parameters<typeof convertToGguf>[2]) {
  yield* convertToGguf(await files.openWeights(), files, options);
}

/** The GGUF file of the adapter whose weights these are, which are read once. Errors: those of {@link openGguf}. */
export async function* convertToGguf(
  weights: AsyncIterable<Uint8Array>,
  { config, weightBytes }: PeftFacts,
  { signal, ...conversion }: Conversion & { readonly signal?: AbortSignal },
): AsyncGenerator<Uint8Array, void, void> {
  const peft = parsePeftConfig(config);
  await using stream = await openTensors(weights, weightBytes);
  const tensors = ggufTensors(stream, peft, conversion.target);
  const options = { ...writeOptions(peft, conversion), ...(signal && { signal }) };
  yield* writeGguf(tensors, numbersOf(stream), options);
}

function writeOptions(peft: PeftConfig, { dtype, target }: Conversion): GgufOptions {
  return { ...target, dtype, alpha: plainAlpha(peft) };
}

async function* numbersOf(stream: TensorStream): AsyncGenerator<Float32Array> {
  for await (const { tensor, bytes } of stream.tensors())
    yield decodeTensor(tensor.name, bytes, tensor.dtype);
}

/** The matrices of a file, in its order: pairs of plain LoRA, at least one, of modules that GGUF has names for. */
function ggufTensors({ header }: TensorStream, peft: PeftConfig, target: GgufTarget): GgufTensor[] {
  const tensors = header.tensors.map((tensor) => matrixOf(tensor, peft, target));
  const pairs = Map.groupBy(tensors, ({ layer, module }) => `${layer}.${module.path}`);
  const modules = new Map<string, LoraModule>();
  for (const [name, [first, second, ...more]] of pairs) {
    if (!first || !second || more.length > 0 || first.side === second.side) {
      throw adapterErrors.mismatch(`The weights do not have one lora_A and one lora_B of ${name}.`);
    }
    const [a, b] = first.side === 'A' ? [first, second] : [second, first];
    const module = { path: a.module.path, in: a.shape[1], out: b.shape[0] };
    const known = modules.get(module.path) ?? module;
    if (known.in !== module.in || known.out !== module.out) {
      throw adapterErrors.mismatch(`${module.path} has other widths in one layer than in another.`);
    }
    modules.set(module.path, module);
  }
  if (modules.size === 0) throw adapterErrors.mismatch('The weights hold no LoRA pair.');
  checkGgufTarget(target, [...modules.values()]);
  return tensors;
}

const MATRIX_NAME = /^base_model\.model\.(.+)\.(\d{1,4})\.([a-z_]+\.[a-z_]+)\.lora_([AB])\.weight$/;

function matrixOf({ name, shape }: SafetensorsTensor, { r }: PeftConfig, target: GgufTarget): GgufTensor {
  const [, layerPath, layer, path, side] = MATRIX_NAME.exec(name) ?? [];
  // Modules of a vision tower may have the same names inside a layer.
  if (!path || ![LAYER_PATH, layerPathOf(target.architecture)].includes(layerPath!)) {
    throw adapterErrors.ggufUnsupported(`${name} is no LoRA matrix of a layer of the decoder.`);
  }
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || r !== (side === 'A' ? rows : columns)) {
    throw adapterErrors.mismatch(`${name} has the shape [${shape.join(', ')}], and the rank is ${r}.`);
  }
  return { name, layer: Number(layer), module: { path }, side: side as 'A' | 'B', shape: [rows, columns] };
}

/** The bytes `start`…`end` of a stream. What follows is not made. */
async function* cut(
  content: AsyncIterable<Uint8Array>,
  { start, end }: { readonly start: number; readonly end: number },
): AsyncGenerator<Uint8Array, void, void> {
  let at = 0;
  for await (const piece of content) {
    const wanted = piece.subarray(Math.max(0, start - at), Math.max(0, end + 1 - at));
    if (wanted.length > 0) yield wanted;
    at += piece.length;
    if (at > end) return;
  }
}

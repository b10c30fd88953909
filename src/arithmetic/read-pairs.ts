/** Adapters → their LoRA pairs, one module at a time, in the order in which their files have them. */
import type { PeftFiles } from '../adapter/peft-files.ts';
import { loraScale, type PeftConfig, parsePeftConfig } from '../adapter/read-peft-config.ts';
import { openTensors, type TensorRead } from '../adapter/read-tensors.ts';
import type { SafetensorsHeader, SafetensorsTensor } from '../adapter/safetensors-header.ts';
import { DTYPE_NAMES, decodeTensor } from '../adapter/tensor-bytes.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { DTYPES, type Dtype } from '../base/dtype.ts';
import { loraErrors } from '../lora/errors.ts';
import { arithmeticErrors } from './errors.ts';
import type { LoraPair } from './pair.ts';

/** An adapter whose configuration was read. */
export type OpenSource = PeftFiles & { readonly peft: PeftConfig };

/** A pair, and the format that its numbers have in the file. */
export type PairRead = { readonly pair: LoraPair; readonly dtype: Dtype };

/** What PEFT puts before a module's own path. */
export const PEFT_PREFIX = 'base_model.model.';
/** Bytes of a number while its matrix waits. */
const FLOAT32_BYTES = 4;
const SUFFIX = /\.lora_(A|B)\.weight$/;

/** Reads a source's configuration. Errors: `adapter-mismatch`. */
export function openSource<S extends PeftFiles>(source: S): S & OpenSource {
  return { ...source, peft: parsePeftConfig(source.config) };
}

/**
 * Most bytes of matrices that are read and wait: for the other half of their pair, or for another adapter that has its
 * tensors in another order. All of one side of a 7B base's widest module in float32 are 34 MB.
 */
const MAX_HELD_BYTES = 1 << 30;

/** The pairs of one adapter that have not been taken yet. */
type PairStream = AsyncDisposable & {
  /** Paths of the pairs, in the order in which the file completes them. */
  readonly remaining: ReadonlySet<string>;
  /** Reads on until the pair of this path is there. What lies before it is held. */
  take(path: string): Promise<PairRead>;
};

async function openPairs(source: OpenSource, signal: AbortSignal | undefined): Promise<PairStream> {
  const stream = await openTensors(await source.openWeights(), source.weightBytes);
  try {
    const remaining = new Set(pairPaths(stream.header));
    const tensors = stream.tensors();
    const halves = new Map<string, Matrix>();
    const pairs = new Map<string, PairRead>();
    let heldBytes = 0;

    async function readOn(): Promise<void> {
      const { value } = await tensors.next();
      signal?.throwIfAborted();
      const matrix = matrixOf(value!);
      const { path } = matrix;
      const other = halves.get(path);
      heldBytes += matrix.values.byteLength;
      if (heldBytes > MAX_HELD_BYTES)
        throw arithmeticErrors.unfit('The adapters have their tensors in too different orders.');
      if (!other) {
        halves.set(path, matrix);
        return;
      }
      halves.delete(path);
      const [a, b] = matrix.side === 'B' ? [other, matrix] : [matrix, other];
      pairs.set(path, { pair: pairOf(a, b, source.peft), dtype: a.dtype });
    }

    return {
      remaining,
      async take(path) {
        remaining.delete(path);
        while (!pairs.has(path)) await readOn();
        const read = pairs.get(path)!;
        pairs.delete(path);
        heldBytes -= FLOAT32_BYTES * (read.pair.a.length + read.pair.b.length);
        return read;
      },
      [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
    };
  } catch (error) {
    await stream[Symbol.asyncDispose]();
    throw error;
  }
}

/** The modules of a file, in the order in which the second matrix of each comes. Errors: `transform-unfit`. */
function pairPaths({ tensors }: SafetensorsHeader): string[] {
  const open = new Set<string>();
  const paths: string[] = [];
  for (const tensor of tensors) {
    const { path } = placeOf(tensor);
    if (open.delete(path)) paths.push(path);
    else open.add(path);
  }
  if (open.size > 0) {
    throw arithmeticErrors.unfit(`${ADAPTER_WEIGHTS_FILE} does not hold pairs of lora_A and lora_B.`);
  }
  return paths;
}

/**
 * The pairs of several adapters module by module, in the order of their files, with the scale in B; `undefined` where an
 * adapter has none. Adapters whose files have another order than the others' take memory. Errors: `transform-unfit` for a
 * file that holds other things than plain LoRA pairs and where shapes differ, `adapter-not-finite`, `safetensors-invalid`,
 * those of reading.
 */
export async function* readTogether(
  sources: readonly OpenSource[],
  signal?: AbortSignal,
): AsyncGenerator<readonly (PairRead | undefined)[], void, void> {
  const streams: PairStream[] = [];
  try {
    for (const source of sources) streams.push(await openPairs(source, signal));
    for (let path = nextPath(streams); path !== undefined; path = nextPath(streams)) {
      const here = await takeAll(streams, path);
      const { in: width, out } = here.find((read) => read !== undefined)!.pair;
      if (here.some((read) => read && (read.pair.in !== width || read.pair.out !== out))) {
        throw arithmeticErrors.unfit(`The adapters have different shapes at ${path}.`);
      }
      yield here;
    }
  } finally {
    await Promise.all(streams.map((stream) => stream[Symbol.asyncDispose]()));
  }
}

/** The module that comes next; where no adapter's order contradicts another's, one before which none has anything else. */
function nextPath(streams: readonly PairStream[]): string | undefined {
  const firstOf = ({ remaining }: PairStream): string | undefined => remaining.values().next().value;
  const heads = streams.map(firstOf).filter((path) => path !== undefined);
  const isFirst = (path: string, stream: PairStream) =>
    !stream.remaining.has(path) || firstOf(stream) === path;
  return heads.find((path) => streams.every((stream) => isFirst(path, stream))) ?? heads[0];
}

function takeAll(streams: readonly PairStream[], path: string): Promise<(PairRead | undefined)[]> {
  return Promise.all(
    streams.map(async (stream) => (stream.remaining.has(path) ? await stream.take(path) : undefined)),
  );
}

type Matrix = {
  readonly path: string;
  readonly side: 'A' | 'B';
  readonly dtype: Dtype;
  readonly shape: readonly [number, number];
  readonly values: Float32Array;
};

/** Which module's matrix a tensor is. Errors: `transform-unfit` where it is none. */
function placeOf({ name, shape, dtype }: SafetensorsTensor) {
  const side = SUFFIX.exec(name)?.[1] as 'A' | 'B' | undefined;
  const known = DTYPES.find((candidate) => DTYPE_NAMES[candidate] === dtype);
  if (!side || !name.startsWith(PEFT_PREFIX) || shape.length !== 2 || !known) {
    throw arithmeticErrors.unfit(`${name} of ${dtype} is no LoRA matrix that can be used.`);
  }
  const sides: readonly [number, number] = [shape[0]!, shape[1]!];
  return { path: name.replace(SUFFIX, ''), side, dtype: known, shape: sides };
}

function matrixOf({ tensor, bytes }: TensorRead): Matrix {
  const { name, dtype } = tensor;
  const values = decodeTensor(name, bytes, dtype);
  if (!values.every(Number.isFinite)) {
    throw loraErrors.notFinite(`${name} holds a number that is not finite.`);
  }
  return { ...placeOf(tensor), values };
}

function pairOf(a: Matrix, b: Matrix, peft: PeftConfig): LoraPair {
  const { path } = a;
  if (a.shape[0] !== peft.r || b.shape[1] !== peft.r) {
    throw arithmeticErrors.unfit(`${path} has another rank than the ${peft.r} of the configuration.`);
  }
  const scale = loraScale(peft);
  return {
    path,
    rank: peft.r,
    in: a.shape[1],
    out: b.shape[0],
    a: Float64Array.from(a.values),
    b: Float64Array.from(b.values, (value) => value * scale),
  };
}

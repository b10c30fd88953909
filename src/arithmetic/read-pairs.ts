/** Adapters → their LoRA pairs, one module at a time, in the order in which their files have them. */
import type { PeftFiles } from '../adapter/peft-files.ts';
import { loraScale, type PeftConfig, parsePeftConfig } from '../adapter/read-peft-config.ts';
import { readTensors, type TensorRead } from '../adapter/read-tensors.ts';
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
const SUFFIX = /\.lora_(A|B)\.weight$/;

/** Reads a source's configuration. Errors: `adapter-mismatch`. */
export function openSource<S extends PeftFiles>(source: S): S & OpenSource {
  return { ...source, peft: parsePeftConfig(source.config) };
}

/**
 * An adapter's pairs in the order of its file, with the scale in B. Errors: `transform-unfit` for a file that holds other
 * things than plain LoRA pairs, `adapter-not-finite`, `safetensors-invalid`, those of reading.
 */
export async function* readPairs(
  source: OpenSource,
  signal?: AbortSignal,
): AsyncGenerator<PairRead, void, void> {
  let a: Matrix | undefined;
  let previous = '';
  for await (const read of readTensors(await source.openWeights(), source.weightBytes)) {
    signal?.throwIfAborted();
    const matrix = matrixOf(read);
    if (matrix.side === 'A') {
      if (a || matrix.path <= previous) throw outOfOrder();
      a = matrix;
      previous = matrix.path;
      continue;
    }
    if (a?.path !== matrix.path) throw outOfOrder();
    yield { pair: pairOf(a, matrix, source.peft), dtype: a.dtype };
    a = undefined;
  }
  if (a) throw outOfOrder();
}

/**
 * The pairs of several adapters module by module in the order of their names, `undefined` where one of them has none.
 * Errors: those of {@link readPairs}, and `transform-unfit` where they differ in shape.
 */
export async function* readTogether(
  sources: readonly OpenSource[],
  signal?: AbortSignal,
): AsyncGenerator<readonly (PairRead | undefined)[], void, void> {
  const streams = sources.map((source) => readPairs(source, signal));
  const step = async (stream: AsyncGenerator<PairRead, void, void>) =>
    (await stream.next()).value ?? undefined;
  try {
    let heads = await Promise.all(streams.map(step));
    for (;;) {
      const paths = heads.flatMap((head) => (head ? [head.pair.path] : []));
      if (paths.length === 0) return;
      const path = paths.sort()[0]!;
      const here = heads.map((head) => (head?.pair.path === path ? head : undefined));
      const { in: width, out } = here.find((head) => head !== undefined)!.pair;
      if (here.some((head) => head && (head.pair.in !== width || head.pair.out !== out))) {
        throw arithmeticErrors.unfit(`The adapters have different shapes at ${path}.`);
      }
      yield here;
      heads = await Promise.all(
        heads.map((head, index) => (here[index] ? step(streams[index]!) : Promise.resolve(head))),
      );
    }
  } finally {
    await Promise.all(streams.map((stream) => stream.return()));
  }
}

type Matrix = {
  readonly path: string;
  readonly side: 'A' | 'B';
  readonly dtype: Dtype;
  readonly shape: readonly [number, number];
  readonly values: Float32Array;
};

function matrixOf({ tensor, bytes }: TensorRead): Matrix {
  const { name, shape } = tensor;
  const side = SUFFIX.exec(name)?.[1] as 'A' | 'B' | undefined;
  const dtype = DTYPES.find((candidate) => DTYPE_NAMES[candidate] === tensor.dtype);
  if (!side || !name.startsWith(PEFT_PREFIX) || shape.length !== 2 || !dtype) {
    throw arithmeticErrors.unfit(`${name} of ${tensor.dtype} is no LoRA matrix that can be used.`);
  }
  const values = decodeTensor(name, bytes, tensor.dtype);
  if (!values.every(Number.isFinite)) {
    throw loraErrors.notFinite(`${name} holds a number that is not finite.`);
  }
  return { path: name.replace(SUFFIX, ''), side, dtype, shape: [shape[0]!, shape[1]!], values };
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

function outOfOrder() {
  return arithmeticErrors.unfit(
    `${ADAPTER_WEIGHTS_FILE} does not hold pairs of lora_A and lora_B in the order of their names.`,
  );
}

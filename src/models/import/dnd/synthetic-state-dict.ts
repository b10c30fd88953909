/** Random weights for a decoder of any size: the amplitudes of a real adapter, without any of its knowledge. */
import { type IndexedRandom, indexedRandom } from '../../../base/random.ts';
import type { TokenLayout } from '../../../lora/layout.ts';
import { tokenizedTensors } from '../../../lora/tensors.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import { type DecoderArchitecture, type DecoderWeight, decoderWeights } from './architecture.ts';

/** Elements handed out at a time: 1 MiB. */
const CHUNK_ELEMENTS = 1 << 18;
/** Standard deviation of what trained layers have beside their kernels: biases, and norm weights around 1. */
const SMALL = 0.1;
/** Standard deviations to aim at: A as after Kaiming initialisation, B as after light tuning (spec §3.6). */
const SIGMA = { A: 1e-2, B: 1e-3 } as const;
/** How much of a last-layer kernel's strength its off-centre taps have: little, so that cells do not leak into scale cells. */
const OFF_CENTRE = 0.05;
/** Standard deviation of the last biases: a scale cell moved so far moves the deviation of a chunk of B by a tenth. */
const LAST_BIAS = 1e-3;

/**
 * The state dict of a decoder with random weights that depend on the seed and on each tensor's name and shape alone, so
 * that tensors can be streamed in any order; nothing is kept but the chunk at hand. Names come in code-unit order.
 *
 * Convolutions keep the variance of what they get. The last layer is shaped so that the scale cells of every token
 * (spec §3.3) come out near those of a chunk with mean 0 and deviation {@link SIGMA}, whatever the condition.
 */
export function syntheticStateDict(
  architecture: DecoderArchitecture,
  layout: TokenLayout,
  seed: number,
): StateDict {
  const last = `layer${architecture.features.length - 2}.`;
  const weights = decoderWeights(architecture).sort((a, b) => (a.source < b.source ? -1 : 1));
  const bySource = new Map(weights.map((weight) => [weight.source, weight]));
  return {
    entries: weights.map(({ source, shape }) => ({ name: source, dtype: 'F32', shape })),
    async *stream(name, { signal } = {}) {
      const weight = bySource.get(name)!;
      const random = indexedRandom(seed, name);
      const numbers = weight.name.startsWith(last)
        ? lastLayerNumbers(weight, weight.name.slice(last.length), layout, random)
        : innerNumbers(weight, random);
      for (const chunk of numbers) {
        signal?.throwIfAborted();
        yield chunk;
      }
    },
    async close() {},
  };
}

/** A row-major stream of `elements` numbers, uniform around 0. */
export function* uniformNumbers(
  random: IndexedRandom,
  elements: number,
  deviation: number,
): Generator<Float32Array> {
  for (let done = 0; done < elements; done += CHUNK_ELEMENTS) {
    const values = new Float32Array(Math.min(CHUNK_ELEMENTS, elements - done));
    random.fill(values, done, deviation);
    yield values;
  }
}

function* innerNumbers({ name, shape }: DecoderWeight, random: IndexedRandom): Generator<Float32Array> {
  const elements = shape.reduce((product, side) => product * side);
  const isMatrix = shape.length === 4 || name.endsWith('_proj.weight');
  if (isMatrix) yield* uniformNumbers(random, elements, 1 / Math.sqrt(elements / shape[0]!));
  else if (name.endsWith('norm.weight')) {
    for (const chunk of uniformNumbers(random, elements, SMALL)) yield chunk.map((value) => 1 + value);
  } else yield* uniformNumbers(random, elements, SMALL);
}

function* lastLayerNumbers(
  weight: DecoderWeight,
  part: string,
  layout: TokenLayout,
  random: IndexedRandom,
): Generator<Float32Array> {
  const { shape } = weight;
  if (part === 'linear1.bias') yield scalePattern(shape as [number, number]);
  else if (part === 'linear2.bias') yield* uniformNumbers(random, shape[0]!, LAST_BIAS);
  else if (part === 'linear2.weight')
    yield* fuseKernels(shape as [number, number, number, number], layout, random);
  else if (shape.length === 4) {
    const [into, from, k] = shape as [number, number, number, number];
    for (let channel = 0; channel < into; channel++) {
      const kernels = new Float32Array(from * k * k);
      // The last two rows and columns are scale cells: nothing of the condition goes there.
      if (channel < into - 2)
        fillKernels(random, kernels, { from: channel * kernels.length, k, deviation: 1 / Math.sqrt(from) });
      yield kernels;
    }
  } else yield* innerNumbers(weight, random);
}

/** What the cascade adds before the last fuse: zero where the standardised chunk goes, the scale of B in the odd scale cells. */
function scalePattern([rows, columns]: readonly [number, number]): Float32Array {
  const pattern = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const isScale = row >= rows - 2 ? column % 2 === 1 : column === columns - 1;
      // The layer divides by 3 before the fuse (spec §2.1).
      if (isScale) pattern[row * columns + column] = 3 * scaleCell(SIGMA.B);
    }
  }
  return pattern;
}

/** Kernels in pairs of opposite sign, so that the pattern, equal in all channels, passes through the centre taps alone. */
function* fuseKernels(
  [tokens, from, k]: readonly [number, number, number, number],
  layout: TokenLayout,
  random: IndexedRandom,
): Generator<Float32Array> {
  const area = k * k;
  const centre = (area - 1) / 2;
  const strength = new Float64Array(tokens).fill(1);
  for (const { side, tokens: range } of tokenizedTensors(layout)) {
    strength.fill(scaleCell(SIGMA[side]) / scaleCell(SIGMA.B), range.start, range.start + range.count);
  }
  for (let token = 0; token < tokens; token++) {
    const kernels = new Float32Array(from * area);
    for (let channel = 0; channel + 1 < from; channel += 2) {
      const [here, next, end] = [channel * area, (channel + 1) * area, (channel + 2) * area];
      const kernel = kernels.subarray(here, next);
      fillKernels(random, kernel, {
        from: token * kernels.length + here,
        k,
        deviation: 1 / Math.sqrt(from),
      });
      const opposite = kernels.subarray(next, end);
      for (let tap = 0; tap < area; tap++) opposite[tap] = -kernel[tap]!;
    }
    for (let channel = 0; channel < from; channel++) {
      kernels[channel * area + centre]! += strength[token]! / from;
    }
    yield kernels;
  }
}

/** Fills whole kernels with the numbers `from` … of the sequence; `deviation` is that of the centre taps. */
function fillKernels(
  random: IndexedRandom,
  kernels: Float32Array,
  { from, k, deviation }: { from: number; k: number; deviation: number },
): void {
  const area = k * k;
  random.fill(kernels, from, deviation * OFF_CENTRE);
  for (let centre = (area - 1) / 2; centre < kernels.length; centre += area) kernels[centre]! /= OFF_CENTRE;
}

/** The scale cell of a chunk with this standard deviation (spec §3.3). */
function scaleCell(sigma: number): number {
  return Math.log(0.9 * sigma + 0.1) + 1.6;
}

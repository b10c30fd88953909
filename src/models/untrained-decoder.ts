/** Random weights for an untrained decoder: the amplitudes of a real adapter, without any of its knowledge. */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { fillUniform } from '../base/random.ts';
import type { LoraLayout } from '../lora/layout.ts';
import { loraTensors } from '../lora/tensors.ts';
import type { DecoderWeight } from './import/architecture.ts';

/** Elements handed out at a time. */
const CHUNK_ELEMENTS = 1 << 16;
/** Standard deviations to aim at: A as after Kaiming initialisation, B as after light tuning (spec §3.6). */
const SIGMA = { A: 1e-2, B: 1e-3 } as const;
/** How much of a last-layer kernel's strength its off-centre taps have: little, so that cells do not leak into scale cells. */
const OFF_CENTRE = 0.05;

/** A row-major stream of `elements` numbers, uniform around 0. */
export function* uniformNumbers(
  random: RandomGenerator,
  elements: number,
  deviation: number,
): Generator<Float32Array> {
  for (let done = 0; done < elements; done += CHUNK_ELEMENTS) {
    const values = new Float32Array(Math.min(CHUNK_ELEMENTS, elements - done));
    fillUniform(random, values, deviation);
    yield values;
  }
}

/**
 * The numbers of the given weights of the architecture, in their order. Convolutions keep the variance of
 * what they get. The last layer is shaped so that the scale cells of every token (spec §3.3) come out near those of a
 * chunk with mean 0 and deviation {@link SIGMA}, whatever the condition.
 */
export function* untrainedDecoderNumbers(
  weights: readonly DecoderWeight[],
  lastLayer: number,
  layout: LoraLayout,
  random: RandomGenerator,
): Generator<Float32Array> {
  const last = `layer${lastLayer}.`;
  for (const weight of weights) {
    yield* weight.name.startsWith(last)
      ? lastLayerNumbers(weight, weight.name.slice(last.length), layout, random)
      : innerNumbers(weight, random);
  }
}

function* innerNumbers({ name, shape }: DecoderWeight, random: RandomGenerator): Generator<Float32Array> {
  const elements = shape.reduce((product, side) => product * side);
  if (shape.length === 4) yield* uniformNumbers(random, elements, 1 / Math.sqrt(elements / shape[0]!));
  else yield new Float32Array(elements).fill(name.endsWith('norm.weight') ? 1 : 0);
}

function* lastLayerNumbers(
  weight: DecoderWeight,
  part: string,
  layout: LoraLayout,
  random: RandomGenerator,
): Generator<Float32Array> {
  const { shape } = weight;
  if (part === 'linear1.bias') yield scalePattern(shape as [number, number]);
  else if (part === 'linear2.weight')
    yield* fuseKernels(shape as [number, number, number, number], layout, random);
  else if (shape.length === 4) {
    const [into, from, k] = shape as [number, number, number, number];
    for (let channel = 0; channel < into; channel++) {
      const kernels = new Float32Array(from * k * k);
      // The last two rows and columns are scale cells: nothing of the condition goes there.
      if (channel < into - 2) fillKernels(random, kernels, k, 1 / Math.sqrt(from));
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
  layout: LoraLayout,
  random: RandomGenerator,
): Generator<Float32Array> {
  const area = k * k;
  const centre = (area - 1) / 2;
  const strength = new Float64Array(tokens).fill(1);
  for (const { side, tokens: range } of loraTensors(layout)) {
    strength.fill(scaleCell(SIGMA[side]) / scaleCell(SIGMA.B), range.start, range.start + range.count);
  }
  for (let token = 0; token < tokens; token++) {
    const kernels = new Float32Array(from * area);
    for (let channel = 0; channel + 1 < from; channel += 2) {
      const [here, next, end] = [channel * area, (channel + 1) * area, (channel + 2) * area];
      const kernel = kernels.subarray(here, next);
      fillKernels(random, kernel, k, 1 / Math.sqrt(from));
      kernels.subarray(next, end).set(kernel.map((value) => -value));
    }
    for (let channel = 0; channel < from; channel++) {
      kernels[channel * area + centre]! += strength[token]! / from;
    }
    yield kernels;
  }
}

function fillKernels(random: RandomGenerator, kernels: Float32Array, k: number, deviation: number): void {
  const area = k * k;
  fillUniform(random, kernels, deviation);
  for (let i = 0; i < kernels.length; i++) if (i % area !== (area - 1) / 2) kernels[i]! *= OFF_CENTRE;
}

/** The scale cell of a chunk with this standard deviation (spec §3.3). */
function scaleCell(sigma: number): number {
  return Math.log(0.9 * sigma + 0.1) + 1.6;
}

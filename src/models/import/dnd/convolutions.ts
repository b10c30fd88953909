/** The convolutions of a decoder as a list, whatever way each is computed in (spec §2.1). */
import type { DecoderArchitecture } from './architecture.ts';

/** An axis of the features besides the batch: prompts or tokens, positions or rows, width or columns. */
export type Axis = 'N' | 'L' | 'C';

/** One convolution of one layer. */
export type Convolution = {
  /** `layer<i>.<which>`; also the prefix of its values in the graph. */
  readonly name: string;
  /** Name of its kernel in the graph, stored `[outputs, inputs, k, k]`. */
  readonly kernelName: string;
  readonly kernel: number;
  /** The axis that is mixed as channels. */
  readonly channel: Axis;
  readonly inputs: number;
  readonly outputs: number;
  /** The axes it runs over, in the stored order of the kernel's axes, and their lengths. */
  readonly axes: readonly [Axis, Axis];
  readonly lengths: readonly [number, number];
  /**
   * Which of the axes comes first in a map with channels last that goes in, and in one that comes out. Chosen so that what
   * lies between two convolutions is the transposition of one matrix, or of one matrix for each row: those are quick.
   */
  readonly firstIn: 0 | 1;
  readonly firstOut: 0 | 1;
};

/** Two things of a convolution's axes in the order of a map in which that axis comes first: see `firstIn`, `firstOut`. */
export function inOrder<Thing>([a, b]: readonly [Thing, Thing], first: 0 | 1): readonly [Thing, Thing] {
  return first === 0 ? [a, b] : [b, a];
}

/** The convolutions of a layer by their published names. */
export type LayerConvolutions = Readonly<
  Record<'conv1w' | 'conv1h' | 'conv2h' | 'conv2w' | 'linear2', Convolution>
>;

/** The five convolutions of layer `index`. */
export function layerConvolutions(architecture: DecoderArchitecture, index: number): LayerConvolutions {
  const { kernel, features } = architecture;
  const [N, L, C] = features[index]!;
  const [nextN, nextL, nextC] = features[index + 1]!;
  const convolution = (
    which: keyof LayerConvolutions,
    channel: Axis,
    [inputs, outputs]: readonly [number, number],
    axes: readonly [Axis, Axis],
    lengths: readonly [number, number],
    [firstIn, firstOut]: readonly [0 | 1, 0 | 1],
  ): Convolution => ({
    name: `layer${index}.${which}`,
    kernelName: `layer${index}.${which === 'linear2' ? which : `linear1.${which}`}.weight`,
    kernel,
    channel,
    inputs,
    outputs,
    axes,
    lengths,
    firstIn,
    firstOut,
  });
  return {
    conv1w: convolution('conv1w', 'C', [C, nextC], ['L', 'N'], [L, N], [1, 0]),
    conv1h: convolution('conv1h', 'L', [L, nextL], ['N', 'C'], [N, nextC], [0, 1]),
    conv2h: convolution('conv2h', 'L', [L, nextL], ['N', 'C'], [N, C], [0, 1]),
    conv2w: convolution('conv2w', 'C', [C, nextC], ['L', 'N'], [nextL, N], [1, 0]),
    linear2: convolution('linear2', 'N', [N, nextN], ['L', 'C'], [nextL, nextC], [0, 0]),
  };
}

/** All convolutions of a decoder, layer by layer. */
export function allConvolutions(architecture: DecoderArchitecture): Convolution[] {
  return architecture.features
    .slice(1)
    .flatMap((_, index) => Object.values(layerConvolutions(architecture, index)));
}

/** How a direct convolution has its axes, which may differ from the stored order of the kernel's. */
export type DirectView = {
  readonly axes: readonly [Axis, Axis];
  /** True where the kernel's axes change places. */
  readonly swapped: boolean;
  /** Taps along each of `axes`: those that only ever meet padding are left out. */
  readonly taps: readonly [number, number];
};

/**
 * The axes of a direct convolution: the longer one last, because CPU kernels run along the last axis (a wide layer of 16
 * prompts takes a fifth less CPU time so, one of 512 prompts the same). The last convolution of a layer keeps their order,
 * in which its map comes and goes anyway.
 */
export function directView({ axes, lengths, channel, kernel }: Convolution): DirectView {
  const taps = (length: number) => Math.min(kernel, 2 * length - 1);
  const [first, second] = lengths;
  if (channel === 'N' || first <= second) return { axes, swapped: false, taps: [taps(first), taps(second)] };
  return { axes: [axes[1], axes[0]], swapped: true, taps: [taps(second), taps(first)] };
}

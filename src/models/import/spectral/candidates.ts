/** The ways to compute a convolution, with what each costs by a model of arithmetic and memory traffic. */
import { DTYPE_BYTES } from '../../../base/dtype.ts';
import type { ConvolutionForm, Generator, SpectralForm } from '../../manifest.ts';
import type { Convolution } from '../dnd/convolutions.ts';
import { type AxisTiling, halfSpectrum, kernelFactors, type Products, tileAxis } from './spectral.ts';

/** What a decoder's large weights are stored as. */
export type Precision = Generator['precision'];

/** How fast a machine does what convolutions are made of. Only the ratios decide about a plan. */
export type MachineSpeed = {
  /** Multiply-adds a second of direct convolutions. */
  readonly directMacs: number;
  /** Multiply-adds a second of large matrix products. */
  readonly productMacs: number;
  /** Multiply-adds a second of products with the small matrices of the transforms. */
  readonly transformMacs: number;
  /** Bytes a second at which a product's right side is read and packed, every time it is used. */
  readonly packBytes: number;
  /** Bytes a second, read and written, of copies and of results that leave the caches. */
  readonly moveBytes: number;
};

/** Fitted to convolutions timed on two cores with AVX-512 (ONNX Runtime 1.30; 5 % rms), to two digits. */
export const TYPICAL_SPEED: MachineSpeed = {
  directMacs: 95e9,
  productMacs: 100e9,
  transformMacs: 60e9,
  packBytes: 20e9,
  moveBytes: 23e9,
};

/** A way to compute a convolution with what it costs. */
export type Candidate = {
  readonly form: ConvolutionForm;
  readonly seconds: number;
  /** Of the kernel as it is stored. */
  readonly weightBytes: number;
  readonly multiplyAdds: number;
  /** Largest input plus output of one of its operators, in bytes. */
  readonly workBytes: number;
};

/** The chosen way of each convolution, by its name. */
export type DecoderPlan = ReadonlyMap<string, Candidate>;

/** Most points of a tile along an axis: the transforms are plain matrix products, whose cost grows with the square. */
const MAX_TILE_POINTS = 64;
/** What an operator costs beyond its work. */
const OPERATOR_SECONDS = 2e-5;
const SPECTRAL_OPERATORS = 12;
/**
 * Largest block of a kernel's spectra. The spectra are made and written block by block of output channels, so this bounds the
 * memory of an import; and matrix products over a few hundred channels are as fast as over thousands.
 */
const MAX_BLOCK_BYTES = 192 << 20;
/**
 * Most that an operator may read and write at once, as far as groups of tiles can help: beyond some hundred megabytes a
 * larger one is no quicker, and what the operators of one convolution need comes on top of everything else in memory.
 */
const MAX_WORK_BYTES = 512 << 20;
/** Output channels that blocks and slices have a multiple of: what AVX-512 kernels take at once; other widths divide it. */
export const CHANNEL_BLOCK = 16;
/** A spectral form must promise this much less time than direct convolution, which needs no further memory. */
const MIN_GAIN = 1.25;

/** The tilings of a spectral form: `half` and `full` as spectral.ts means them. */
export function tilingsOf(
  convolution: Convolution,
  { half, tiles }: Pick<SpectralForm, 'half' | 'tiles'>,
): { half: AxisTiling; full: AxisTiling } {
  const tiling = (axis: 0 | 1) => tileAxis(convolution.lengths[axis], convolution.kernel, tiles[axis]);
  return { half: tiling(half), full: tiling(half === 0 ? 1 : 0) };
}

/**
 * Shape of a kernel's stored spectra, `[blocks, frequencies, factors × inputs, channels of a block]`. The last block is
 * filled up with zeros.
 */
export function spectraShape(
  convolution: Convolution,
  form: SpectralForm,
): readonly [number, number, number, number] {
  const { half, full } = tilingsOf(convolution, form);
  const products = form.products === 3 ? 3 : 1;
  const frequencies = halfSpectrum(half.points) * full.points * products;
  const depth = convolution.inputs * (form.products === 3 ? 1 : 2);
  return [Math.ceil(convolution.outputs / form.blockChannels), frequencies, depth, form.blockChannels];
}

/** Output channels with those that fill up the last block. */
function storedChannels({ outputs }: Convolution, { blockChannels }: SpectralForm): number {
  return Math.ceil(outputs / blockChannels) * blockChannels;
}

/** Floats of every intermediate result of a spectral convolution, from what is gathered to what goes back into a map. */
function intermediateFloats(convolution: Convolution, form: SpectralForm) {
  const { inputs } = convolution;
  const { products } = form;
  const { half, full } = tilingsOf(convolution, form);
  const tiles = half.tiles * full.tiles;
  const frequencies = halfSpectrum(half.points) * full.points;
  const stored = storedChannels(convolution, form);
  return {
    gathered: half.points * full.points * tiles * inputs,
    halfIn: 2 * halfSpectrum(half.points) * full.points * tiles * inputs,
    fullIn: frequencies * products * tiles * inputs,
    multiplied: frequencies * kernelFactors(products) * tiles * stored,
    fullOut: 2 * halfSpectrum(half.points) * full.outputs * tiles * stored,
    halfOut: half.outputs * full.outputs * tiles * stored,
  };
}

/** What the largest operator of a spectral convolution reads and writes, in bytes, if it takes all tiles at once. */
function largestOperatorBytes(convolution: Convolution, form: SpectralForm): number {
  const results = Object.values(intermediateFloats(convolution, form));
  return 4 * Math.max(...results.slice(1).map((result, at) => result + results[at]!));
}

/**
 * The half axis in groups of tiles that are worked on one after the other: as few as keep every operator's input and output
 * within {@link MAX_WORK_BYTES}, where tiles are small enough for that. Each group reads the whole of the spectra again.
 */
export function tileGroups(convolution: Convolution, form: SpectralForm): AxisTiling[] {
  const { half } = tilingsOf(convolution, form);
  const wanted = Math.ceil(largestOperatorBytes(convolution, form) / MAX_WORK_BYTES);
  const size = Math.ceil(half.tiles / Math.min(wanted, half.tiles));
  return Array.from({ length: Math.ceil(half.tiles / size) }, (_, group) => ({
    ...half,
    tiles: Math.min(size, half.tiles - group * size),
    start: half.start + group * size * half.outputs,
  }));
}

/** Direct convolution. */
export function directCandidate(
  convolution: Convolution,
  speed: MachineSpeed = TYPICAL_SPEED,
  precision: Precision = 'f32',
): Candidate {
  const { inputs, outputs, kernel, lengths } = convolution;
  const positions = lengths[0] * lengths[1];
  const multiplyAdds = inputs * outputs * positions * kernel * kernel;
  return {
    form: { form: 'direct' },
    seconds: multiplyAdds / speed.directMacs + OPERATOR_SECONDS,
    weightBytes: DTYPE_BYTES[precision] * inputs * outputs * kernel * kernel,
    multiplyAdds,
    workBytes: 4 * (inputs + outputs) * positions,
  };
}

/** The spectral form with those tiles and products; undefined where a block of the least width would be too large. */
function spectralForm(
  convolution: Convolution,
  wanted: Omit<SpectralForm, 'form' | 'blockChannels'>,
): SpectralForm | undefined {
  const { half, full } = tilingsOf(convolution, wanted);
  const spectrumFloats = halfSpectrum(half.points) * full.points * kernelFactors(wanted.products);
  const blockChannels = channelsOfBlock(convolution.outputs, 4 * convolution.inputs * spectrumFloats);
  return blockChannels === undefined ? undefined : { form: 'spectral', ...wanted, blockChannels };
}

/** A spectral form with its cost. `groups` are its own but where a block of a larger convolution is meant. */
export function spectralCandidate(
  convolution: Convolution,
  form: SpectralForm,
  speed: MachineSpeed = TYPICAL_SPEED,
  precision: Precision = 'f32',
  groups: readonly AxisTiling[] = tileGroups(convolution, form),
): Candidate {
  const { products } = form;
  const { half, full } = tilingsOf(convolution, form);
  const { gathered, halfIn, fullIn, multiplied, fullOut, halfOut } = intermediateFloats(convolution, form);

  // Every factor of the map meets every output channel.
  const productMacs = fullIn * storedChannels(convolution, form);
  const transformMacs =
    halfIn * half.points +
    fullIn * 2 * full.points +
    fullOut * full.points * kernelFactors(products) +
    halfOut * 2 * halfSpectrum(half.points);
  const spectraFloats = spectraShape(convolution, form).reduce((a, b) => a * b);
  // Halves are widened before each use.
  const widened = precision === 'f16' ? spectraFloats * groups.length : 0;
  // Copies: padding, gathering, sorting of rows for four products, tiles into a map, cutting off what is too much.
  const copied =
    convolution.inputs * half.length * full.length + gathered + (products === 4 ? fullIn : 0) + 2 * halfOut;
  const written = halfIn + fullIn + multiplied + fullOut + halfOut;
  return {
    form,
    seconds:
      productMacs / speed.productMacs +
      (4 * groups.length * spectraFloats) / speed.packBytes +
      transformMacs / speed.transformMacs +
      (4 * (2 * copied + written + widened)) / speed.moveBytes +
      groups.length * SPECTRAL_OPERATORS * OPERATOR_SECONDS,
    weightBytes: DTYPE_BYTES[precision] * spectraFloats,
    multiplyAdds: productMacs + transformMacs,
    workBytes: Math.max(
      largestOperatorBytes(convolution, form) * (groups[0]!.tiles / half.tiles),
      8 * halfOut,
    ),
  };
}

/** Channels of a block: as few blocks as the limit allows, evenly filled. */
function channelsOfBlock(outputs: number, channelBytes: number): number | undefined {
  const most = Math.floor(MAX_BLOCK_BYTES / channelBytes);
  if (most >= outputs) return outputs;
  const whole = Math.floor(most / CHANNEL_BLOCK) * CHANNEL_BLOCK;
  if (whole === 0) return undefined;
  const blocks = Math.ceil(outputs / whole);
  return Math.ceil(outputs / blocks / CHANNEL_BLOCK) * CHANNEL_BLOCK;
}

/** Every way to compute a convolution that is worth its memory: see {@link worthwhile}. */
export function candidates(
  convolution: Convolution,
  speed: MachineSpeed = TYPICAL_SPEED,
  precision: Precision = 'f32',
): Candidate[] {
  return worthwhile(everyCandidate(convolution, speed, precision));
}

/** Every way to compute a convolution, the direct one first. */
export function everyCandidate(
  convolution: Convolution,
  speed: MachineSpeed = TYPICAL_SPEED,
  precision: Precision = 'f32',
): Candidate[] {
  const found = [directCandidate(convolution, speed, precision)];
  const [first, second] = convolution.lengths.map((length) => tileCounts(length, convolution.kernel)) as [
    number[],
    number[],
  ];
  for (const a of first) {
    for (const b of second) {
      for (const half of [0, 1] as const) {
        for (const products of [3, 4] as const satisfies readonly Products[]) {
          const form = spectralForm(convolution, { half, tiles: [a, b], products });
          if (form) found.push(spectralCandidate(convolution, form, speed, precision));
        }
      }
    }
  }
  return found;
}

/**
 * The candidates of a convolution that no other beats in both time and stored bytes, the smallest first; spectral ones only
 * where they are {@link MIN_GAIN} times faster than the direct one, which must be among them.
 */
export function worthwhile(some: readonly Candidate[]): Candidate[] {
  const direct = some.find(({ form }) => form.form === 'direct')!;
  const found = some.filter((one) => one === direct || one.seconds * MIN_GAIN < direct.seconds);
  found.sort((a, b) => a.weightBytes - b.weightBytes || a.seconds - b.seconds);
  let best = Number.POSITIVE_INFINITY;
  return found.filter(({ seconds }) => {
    if (seconds >= best) return false;
    best = seconds;
    return true;
  });
}

/** Numbers of tiles worth a thought: each gives a tile of another size, none above {@link MAX_TILE_POINTS}. */
function tileCounts(length: number, kernel: number): number[] {
  const counts = new Map<number, number>();
  for (let tiles = length; tiles >= 1; tiles--) {
    const { points } = tileAxis(length, kernel, tiles);
    if (points <= MAX_TILE_POINTS) counts.set(points, tiles);
  }
  return [...counts.values()];
}

/** Copies a decoder's weights from a state dict into external data, kernels in the form their convolutions want. */
import { fromF16Bits } from '../../../base/dtype.ts';
import { fillUniform, seededRandom } from '../../../base/random.ts';
import type { ExternalDataFile, ExternalTensor } from '../../../onnx/external-data.ts';
import type { GraphRunner, RunnableGraph } from '../../graph-runner.ts';
import type { SpectralForm } from '../../manifest.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import { spectraShape } from '../spectral/candidates.ts';
import { spectraGraph, spectralBlockGraph, spectralRows } from '../spectral/spectral-graph.ts';
import {
  asStoredBytes,
  bytesOf,
  checkedNumbers,
  narrowed,
  type Precision,
  STORED_AS,
} from '../stored-numbers.ts';
import { type DecoderArchitecture, decoderWeights } from './architecture.ts';
import { allConvolutions, type Convolution, directView, inOrder } from './convolutions.ts';
import { type ConvolutionForms, type PlacedWeights, rowsName, spectraName } from './decoder-graph.ts';

/** How weights are stored. */
export type StoreOptions = {
  /** The way each convolution is computed; direct where there is none. */
  readonly forms?: ConvolutionForms;
  /** What kernels, their spectra and projections are stored as. Default `f32`; norms and biases always are. */
  readonly precision?: Precision;
  /** Needed where a form is spectral. */
  readonly runner?: GraphRunner;
  readonly signal?: AbortSignal;
  /** Called with the bytes of the state dict's numbers, as float32, that have been dealt with since the last call. */
  readonly onBytes?: (bytes: number) => void;
};

/** The outcome of {@link storeDecoderWeights}. */
export type StoredDecoder = {
  readonly weights: PlacedWeights;
  /** The measured error of each spectral convolution, by its name: see {@link measureBlock}. */
  readonly errors: ReadonlyMap<string, number>;
};

/**
 * Copies every weight of a decoder once into the external data file, as float32; kernels of spectral convolutions as their
 * spectra. Memory stays bounded by the chunks of the state dict and one block of spectra. `names` maps published names to
 * those of the state dict. Errors: `checkpoint-invalid` for a NaN or infinity.
 */
export async function storeDecoderWeights(
  architecture: DecoderArchitecture,
  stateDict: StateDict,
  names: ReadonlyMap<string, string>,
  file: ExternalDataFile,
  options: StoreOptions = {},
): Promise<StoredDecoder> {
  const convolutions = new Map(allConvolutions(architecture).map((one) => [one.kernelName, one]));
  const weights = new Map<string, ExternalTensor>();
  const errors = new Map<string, number>();
  const { precision = 'f32' } = options;
  const aborting = options.signal ? { signal: options.signal } : {};
  for (const { name, source, shape } of decoderWeights(architecture)) {
    options.signal?.throwIfAborted();
    const numbers = checkedNumbers(stateDict.stream(names.get(source)!, aborting), source, options.onBytes);
    const convolution = convolutions.get(name);
    const form = convolution && options.forms?.get(convolution.name);
    if (form?.form === 'spectral') {
      const stored = await storeSpectra(convolution!, form, numbers, file, {
        runner: options.runner!,
        precision,
      });
      for (const [part, tensor] of stored.weights) weights.set(part, tensor);
      errors.set(convolution!.name, stored.error);
    } else if (convolution) {
      const { taps } = directView(convolution);
      const kernels = directKernels(numbers, convolution);
      const stored = [...shape.slice(0, 2), ...taps];
      weights.set(
        name,
        await file.append(STORED_AS[precision], stored, asStoredBytes(kernels, name, precision)),
      );
    } else {
      const as = PROJECTION.test(name) ? precision : 'f32';
      weights.set(name, await file.append(STORED_AS[as], shape, asStoredBytes(numbers, name, as)));
    }
  }
  return { weights, errors };
}

/** The matrices of the length projection (spec §2.5). */
const PROJECTION = /^(?:down|gate)_proj\.weight$/;

/** Stores the spectra of one kernel block by block, and measures the first and the last block. */
async function storeSpectra(
  convolution: Convolution,
  form: SpectralForm,
  numbers: AsyncIterable<Float32Array>,
  file: ExternalDataFile,
  { runner, precision }: { runner: GraphRunner; precision: Precision },
): Promise<{ weights: [string, ExternalTensor][]; error: number }> {
  const { inputs, outputs, kernel } = convolution;
  const { blockChannels } = form;
  const area = kernel * kernel;
  const shape = spectraShape(convolution, form);
  const rows = spectralRows(convolution, form);
  const errors: number[] = [];
  const blockShape = shape.slice(1);
  const spectra = new Float32Array(blockShape.reduce((a, b) => a * b));
  await using transform = disposable(await runner(spectraGraph(convolution, form)));

  async function* blocks(): AsyncGenerator<Uint8Array> {
    let block = 0;
    for await (const kernels of inBlocks(numbers, blockChannels * inputs * area)) {
      await transform.graph.run(
        { kernels: { values: kernels, shape: [blockChannels, inputs, area] } },
        { values: spectra, shape: blockShape },
      );
      const stored = narrowed(spectra, convolution.kernelName, precision);
      const isLast = block === shape[0] - 1;
      if (block === 0 || isLast) {
        const channels = isLast ? outputs - block * blockChannels : blockChannels;
        const read = stored instanceof Uint16Array ? fromF16Bits(stored) : stored;
        errors.push(
          await measureBlock(convolution, form, { kernels, spectra: read, rows, channels }, runner),
        );
      }
      yield bytesOf(stored);
      block++;
    }
  }

  const spectraTensor = await file.append(STORED_AS[precision], shape, blocks());
  const rowNumbers = await file.append('int64', [rows.length], [bytesOf(rows)]);
  return {
    weights: [
      [spectraName(convolution), spectraTensor],
      [rowsName(convolution), rowNumbers],
    ],
    error: Math.max(...errors),
  };
}

/** Output channels and positions of a block that are summed up directly: two million multiply-adds for 256 inputs. */
const MEASURED_CHANNELS = 4;
const MEASURED_POSITIONS = 24;
const MEASURING_SEED = 7;

/**
 * Runs one block of a spectral convolution on a random map and compares samples of its output, the corners among them, with
 * sums in float64. Returns the largest difference relative to the largest magnitude of the block's output.
 */
async function measureBlock(
  convolution: Convolution,
  form: SpectralForm,
  block: { kernels: Float32Array; spectra: Float32Array; rows: BigInt64Array; channels: number },
  runner: GraphRunner,
): Promise<number> {
  const { inputs, kernel, lengths, firstIn, firstOut } = convolution;
  const { blockChannels } = form;
  const random = seededRandom(MEASURING_SEED);
  const map = new Float32Array(lengths[0] * lengths[1] * inputs);
  fillUniform(random, map, 1);
  await using graph = disposable(await runner(spectralBlockGraph(convolution, form)));
  const y = new Float32Array(lengths[0] * lengths[1] * blockChannels);
  await graph.graph.run(
    {
      x: { values: map, shape: [1, ...inOrder(lengths, firstIn), inputs] },
      spectra: { values: block.spectra, shape: [1, ...spectraShape(convolution, form).slice(1)] },
      rows: { values: block.rows, shape: [block.rows.length] },
    },
    { values: y, shape: [1, ...inOrder(lengths, firstOut), blockChannels] },
  );
  const at = (first: 0 | 1, i: number, j: number) => (first === 0 ? i * lengths[1] + j : j * lengths[0] + i);
  const padding = (kernel - 1) / 2;

  function direct(channel: number, i: number, j: number): number {
    let sum = 0;
    for (let input = 0; input < inputs; input++) {
      const taps = (channel * inputs + input) * kernel * kernel;
      for (let a = 0; a < kernel; a++) {
        const row = i + a - padding;
        if (row < 0 || row >= lengths[0]) continue;
        for (let b = 0; b < kernel; b++) {
          const column = j + b - padding;
          if (column < 0 || column >= lengths[1]) continue;
          sum += block.kernels[taps + a * kernel + b]! * map[at(firstIn, row, column) * inputs + input]!;
        }
      }
    }
    return sum;
  }

  let magnitude = 0;
  for (const value of y) magnitude = Math.max(magnitude, Math.abs(value));
  let difference = 0;
  const below = (length: number) => (random.next() >>> 0) % length;
  for (let sample = 0; sample < MEASURED_CHANNELS * MEASURED_POSITIONS; sample++) {
    const channel = below(block.channels);
    const corner = sample < 4 ? sample : undefined;
    const i = corner === undefined ? below(lengths[0]) : (corner >> 1) * (lengths[0] - 1);
    const j = corner === undefined ? below(lengths[1]) : (corner & 1) * (lengths[1] - 1);
    const actual = y[at(firstOut, i, j) * blockChannels + channel]!;
    difference = Math.max(difference, Math.abs(actual - direct(channel, i, j)));
  }
  return magnitude === 0 ? 0 : difference / magnitude;
}

function disposable(graph: RunnableGraph): AsyncDisposable & { readonly graph: RunnableGraph } {
  return { graph, [Symbol.asyncDispose]: () => graph.close() };
}

/** Cuts a stream into pieces of that many numbers; the last one is filled up with zeros. A piece is valid until the next. */
async function* inBlocks(chunks: AsyncIterable<Float32Array>, length: number): AsyncGenerator<Float32Array> {
  const block = new Float32Array(length);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const count = Math.min(chunk.length - at, length - filled);
      block.set(chunk.subarray(at, at + count), filled);
      filled += count;
      at += count;
      if (filled === length) {
        yield block;
        filled = 0;
      }
    }
  }
  if (filled === 0) return;
  block.fill(0, filled);
  yield block;
}

/** Kernels as a direct convolution wants them: axes in its order, taps that only meet padding left out. */
async function* directKernels(
  chunks: AsyncIterable<Float32Array>,
  convolution: Convolution,
): AsyncGenerator<Float32Array> {
  const { kernel } = convolution;
  const { swapped, taps } = directView(convolution);
  const area = kernel * kernel;
  const [height, width] = taps;
  if (!swapped && height * width === area) {
    yield* chunks;
    return;
  }
  const [strideY, strideX] = swapped ? [1, kernel] : [kernel, 1];
  const first = ((kernel - height) / 2) * strideY + ((kernel - width) / 2) * strideX;
  let rest = new Float32Array(0);
  for await (const chunk of chunks) {
    const input = new Float32Array(rest.length + chunk.length);
    input.set(rest);
    input.set(chunk, rest.length);
    const whole = Math.floor(input.length / area);
    const output = new Float32Array(whole * height * width);
    let to = 0;
    for (let block = 0; block < whole; block++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++)
          output[to++] = input[block * area + first + y * strideY + x * strideX]!;
      }
    }
    rest = input.subarray(whole * area);
    yield output;
  }
}

/** The decoder of spec §2 and the length projection of spec §1.4 as ONNX graphs over one external data file. */
import type { ExternalDataFile, ExternalTensor } from '../../onnx/external-data.ts';
import { createGraphBuilder, type GraphBuilder } from '../../onnx/graph-builder.ts';
import { modelErrors } from '../errors.ts';
import { type DecoderArchitecture, decoderWeights, type Features } from './architecture.ts';
import type { StateDict } from './state-dict.ts';

/** Epsilon of the layers' joint LayerNorm (spec §2.1). */
const NORM_EPSILON = 1e-5;

/** An axis of the features besides the batch: prompts or tokens, positions or rows, width or columns. */
type Axis = 'N' | 'L' | 'C';
type Lengths = Readonly<Record<Axis, number>>;
/** A value of the graph with the order its axes lie in, after the batch axis. */
type View = { readonly value: string; readonly axes: readonly Axis[] };

/** The four convolutions inside a layer: the axis that is mixed as channels, and the stored order of the kernel's axes (spec §2.1). */
const CONVOLUTIONS = {
  conv1w: { channel: 'C', kernel: ['L', 'N'] },
  conv1h: { channel: 'L', kernel: ['N', 'C'] },
  conv2h: { channel: 'L', kernel: ['N', 'C'] },
  conv2w: { channel: 'C', kernel: ['L', 'N'] },
} as const satisfies Record<string, { channel: Axis; kernel: readonly [Axis, Axis] }>;
type ConvolutionName = keyof typeof CONVOLUTIONS;

/**
 * The spatial axes of a convolution in the order the graph has them: the longer one last, because CPU kernels run along
 * the last axis (a wide layer of 16 prompts takes a fifth less CPU time so, one of 512 prompts the same). Where that
 * differs from the stored order, the stored kernel is transposed on import.
 */
function spatialAxes(
  name: ConvolutionName,
  lengths: Lengths,
): { axes: readonly [Axis, Axis]; swapped: boolean } {
  const [first, second] = CONVOLUTIONS[name].kernel;
  const swapped = lengths[first] > lengths[second];
  return { axes: swapped ? [second, first] : [first, second], swapped };
}

/** The lengths of the axes each convolution of a layer runs over; its channel axis has the length before it. */
function convolutionLengths(before: Features, after: Features): Readonly<Record<ConvolutionName, Lengths>> {
  const [N, L, C] = before;
  const [, nextL, nextC] = after;
  return {
    conv1w: { N, L, C },
    conv1h: { N, L, C: nextC },
    conv2h: { N, L, C },
    conv2w: { N, L: nextL, C },
  };
}

/** Where every weight of a decoder lies, by its name in the graph. */
export type PlacedWeights = ReadonlyMap<string, ExternalTensor>;

/**
 * Copies every weight of a decoder once into the external data file, as float32. Memory stays bounded by the chunks of the
 * state dict. `names` maps published names to those of the state dict. Errors: `checkpoint-invalid` for a NaN or infinity.
 */
export async function storeDecoderWeights(
  architecture: DecoderArchitecture,
  stateDict: StateDict,
  names: ReadonlyMap<string, string>,
  file: ExternalDataFile,
  options: { signal?: AbortSignal; onBytes?: (bytes: number) => void } = {},
): Promise<PlacedWeights> {
  const swapped = swappedKernels(architecture);
  const placed = new Map<string, ExternalTensor>();
  for (const { name, source, shape } of decoderWeights(architecture)) {
    options.signal?.throwIfAborted();
    const numbers = stateDict.stream(names.get(source)!, options.signal ? { signal: options.signal } : {});
    const ordered = swapped.has(name) ? swapKernelAxes(numbers, architecture.kernel) : numbers;
    placed.set(name, await file.append('float32', shape, asBytes(ordered, source, options)));
  }
  return placed;
}

/** How graphs are written. */
export type GraphOptions = {
  /** Largest kernel of one convolution; {@link MAX_KERNEL_BYTES} when absent. */
  readonly maxKernelBytes?: number;
};

/**
 * ONNX Runtime keeps what its layout optimiser makes of a kernel inside a protobuf message, which ends at 2 GiB: the last
 * kernel of the published 0.5B decoder has 2.85 GB and would not load on a CPU. Half of the limit leaves room for padding.
 */
const MAX_KERNEL_BYTES = 1 << 30;
/** Output channels that AVX-512 kernels of ONNX Runtime take at once; other widths divide it. */
const CHANNEL_BLOCK = 16;

/** Emits the convolution `name` of `x` with a stored kernel, and perhaps a stored bias, and returns its value. */
type Convolve = (name: string, x: string, kernel: string, bias?: string) => string;

/** The whole decoder: `condition` `[B, N, Lt, C]` → `tokens` `[B, T, H, W]`, float32. */
export function decoderGraph(
  architecture: DecoderArchitecture,
  weights: PlacedWeights,
  options: GraphOptions = {},
): Uint8Array {
  return emitGraph(architecture, weights, {
    ...options,
    name: 'decoder',
    from: 0,
    to: architecture.features.length - 1,
    input: 'condition',
    output: 'tokens',
  });
}

/** Layer `index` alone, the length projection included in the first: `x` → `y`, over the same weights. */
export function decoderStageGraph(
  architecture: DecoderArchitecture,
  weights: PlacedWeights,
  index: number,
  options: GraphOptions = {},
): Uint8Array {
  return emitGraph(architecture, weights, {
    ...options,
    name: `decoder-stage-${index}`,
    from: index,
    to: index + 1,
    input: 'x',
    output: 'y',
  });
}

function emitGraph(
  architecture: DecoderArchitecture,
  weights: PlacedWeights,
  part: GraphOptions & { name: string; from: number; to: number; input: string; output: string },
): Uint8Array {
  const { features, projection } = architecture;
  const { maxKernelBytes = MAX_KERNEL_BYTES } = part;
  const graph = createGraphBuilder(part.name);
  const weight = (name: string) => graph.weight(name, weights.get(name)!);
  const convolve: Convolve = (name, x, kernel, bias) =>
    emitConvolution(graph, { name, x, kernel, bias, weights, maxKernelBytes });
  const [n, l, c] = features[part.from]!;
  const projected = part.from === 0 && projection;
  let x = graph.input(part.input, 'float32', ['B', n, projected ? projection.tokens : l, c]);
  if (projected) x = emitProjection(graph, weight, projection, features[0]!, x);
  const three = graph.constant('three', new Float32Array([3]), []);
  for (let index = part.from; index < part.to; index++) {
    const name = index === part.to - 1 ? part.output : `layer${index}.out`;
    x = emitLayer(graph, weight, convolve, architecture, { index, x, three, name });
  }
  graph.output(part.output, 'float32', ['B', ...features[part.to]!]);
  return graph.encode();
}

function emitProjection(
  graph: GraphBuilder,
  weight: (name: string) => string,
  { tokens, positions }: { tokens: number; positions: number },
  [n, , c]: Features,
  x: string,
): string {
  // The rows are a reinterpretation of each prompt's numbers as [C, Lt], not a transposition (spec §1.4).
  const rowShape = graph.constant('projection.rows', BigInt64Array.of(-1n, BigInt(tokens)), [2]);
  const outShape = graph.constant(
    'projection.shape',
    BigInt64Array.from([-1, n, positions, c].map(BigInt)),
    [4],
  );
  const rows = graph.node('projection.view', 'Reshape', [x, rowShape]);
  const transB = { transB: { int: 1 } };
  const down = ['down_proj.weight', 'down_proj.bias'].map(weight);
  const gate = ['gate_proj.weight', 'gate_proj.bias'].map(weight);
  const narrow = graph.node('projection.down', 'Gemm', [rows, ...down], transB);
  const mixed = graph.node('projection.gate', 'Gemm', [narrow, ...gate], transB);
  return graph.node('projection.out', 'Reshape', [mixed, outShape]);
}

/** One layer of spec §2.1 with the residual rule of §2.2; every value is named after the layer. */
function emitLayer(
  graph: GraphBuilder,
  weight: (name: string) => string,
  emitConv: Convolve,
  { features }: DecoderArchitecture,
  layer: { index: number; x: string; three: string; name: string },
): string {
  const { index, x, three } = layer;
  const [before, after] = [features[index]!, features[index + 1]!];
  const lengths = convolutionLengths(before, after);
  const named = (name: string) => `layer${index}.${name}`;
  const own = (name: string) => weight(named(name));

  const normalised: View = {
    value: graph.node(
      named('norm'),
      'LayerNormalization',
      [x, own('linear1.norm.weight'), own('linear1.norm.bias')],
      { axis: { int: -2 }, epsilon: { float: NORM_EPSILON } },
    ),
    axes: ['N', 'L', 'C'],
  };
  const viewAs = (view: View, axes: readonly Axis[], name: string): View => {
    if (axes.every((axis, at) => axis === view.axes[at])) return view;
    const perm = [0, ...axes.map((axis) => view.axes.indexOf(axis) + 1)];
    return { value: graph.node(named(name), 'Transpose', [view.value], { perm: { ints: perm } }), axes };
  };
  const convolve = (view: View, name: ConvolutionName): View => {
    const axes = [CONVOLUTIONS[name].channel, ...spatialAxes(name, lengths[name]).axes];
    const input = viewAs(view, axes, `${name}.view`).value;
    return { value: emitConv(named(name), input, named(`linear1.${name}.weight`)), axes };
  };

  const widthFirst = viewAs(
    convolve(convolve(normalised, 'conv1w'), 'conv1h'),
    ['N', 'L', 'C'],
    'width-first.view',
  ).value;
  const heightFirst = viewAs(
    convolve(convolve(normalised, 'conv2h'), 'conv2w'),
    ['N', 'L', 'C'],
    'height-first.view',
  ).value;
  const bounded = graph.node(named('tanh'), 'Tanh', [heightFirst]);
  const both = graph.node(named('sum'), 'Add', [widthFirst, bounded]);
  const biased = graph.node(named('biased'), 'Add', [both, own('linear1.bias')]);
  const mean = graph.node(named('mean'), 'Div', [biased, three]);
  const fuse = (name: string) => emitConv(name, mean, named('linear2.weight'), named('linear2.bias'));
  const keepsShape = before.every((length, axis) => length === after[axis]);
  if (!keepsShape) return fuse(layer.name);
  return graph.node(layer.name, 'Add', [fuse(named('fuse')), x]);
}

/**
 * A convolution over the last two axes with the input's size kept. A kernel above `maxKernelBytes` runs as several
 * convolutions over slices of its output channels, whose results are joined: the numbers are the same, and the slices lie
 * where the whole kernel lies.
 */
function emitConvolution(
  graph: GraphBuilder,
  convolution: {
    name: string;
    x: string;
    kernel: string;
    bias: string | undefined;
    weights: PlacedWeights;
    maxKernelBytes: number;
  },
): string {
  const { name, x, weights, maxKernelBytes } = convolution;
  const kernel = weights.get(convolution.kernel)!;
  const bias = convolution.bias === undefined ? undefined : weights.get(convolution.bias)!;
  const [channels, , height, width] = kernel.shape as readonly [number, number, number, number];
  const [padY, padX] = [(height - 1) / 2, (width - 1) / 2];
  const attributes = {
    kernel_shape: { ints: [height, width] },
    pads: { ints: [padY, padX, padY, padX] },
  };
  const perSlice = channelsPerSlice(channels, kernel.bytes, maxKernelBytes);
  const slices: string[] = [];
  for (let from = 0; from < channels; from += perSlice) {
    const count = Math.min(perSlice, channels - from);
    const suffix = count === channels ? '' : `.${slices.length}`;
    const inputs = [x, graph.weight(convolution.kernel + suffix, sliceRows(kernel, from, count))];
    if (bias) inputs.push(graph.weight(convolution.bias + suffix, sliceRows(bias, from, count)));
    slices.push(graph.node(name + suffix, 'Conv', inputs, attributes));
  }
  return slices.length === 1 ? name : graph.node(name, 'Concat', slices, { axis: { int: 1 } });
}

/** Output channels a slice has: few enough for the limit, in whole blocks of what CPU kernels take at once. */
function channelsPerSlice(channels: number, bytes: number, maxKernelBytes: number): number {
  if (bytes <= maxKernelBytes) return channels;
  const evenly = Math.ceil(channels / Math.ceil(bytes / maxKernelBytes));
  return Math.max(CHANNEL_BLOCK, Math.floor(evenly / CHANNEL_BLOCK) * CHANNEL_BLOCK);
}

/** Rows `from`…`from + count` of a tensor's first axis, as a tensor of their own in the same file. */
function sliceRows(tensor: ExternalTensor, from: number, count: number): ExternalTensor {
  const [rows, ...rest] = tensor.shape as readonly [number, ...number[]];
  const rowBytes = tensor.bytes / rows;
  return {
    ...tensor,
    shape: [count, ...rest],
    offsetBytes: tensor.offsetBytes + from * rowBytes,
    bytes: count * rowBytes,
  };
}

function swappedKernels({ features }: DecoderArchitecture): ReadonlySet<string> {
  const swapped = new Set<string>();
  for (const [index, after] of features.slice(1).entries()) {
    const lengths = convolutionLengths(features[index]!, after);
    for (const name of Object.keys(CONVOLUTIONS) as ConvolutionName[]) {
      if (spatialAxes(name, lengths[name]).swapped) swapped.add(`layer${index}.linear1.${name}.weight`);
    }
  }
  return swapped;
}

/** Transposes each `[kernel, kernel]` block of the stream. */
async function* swapKernelAxes(
  chunks: AsyncIterable<Float32Array>,
  kernel: number,
): AsyncGenerator<Float32Array> {
  const area = kernel * kernel;
  let rest = new Float32Array(0);
  for await (const chunk of chunks) {
    const input = new Float32Array(rest.length + chunk.length);
    input.set(rest);
    input.set(chunk, rest.length);
    const output = new Float32Array(input.length - (input.length % area));
    for (let block = 0; block < output.length; block += area) {
      for (let row = 0; row < kernel; row++) {
        for (let column = 0; column < kernel; column++) {
          output[block + column * kernel + row] = input[block + row * kernel + column]!;
        }
      }
    }
    rest = input.subarray(output.length);
    yield output;
  }
}

async function* asBytes(
  chunks: AsyncIterable<Float32Array>,
  name: string,
  options: { onBytes?: (bytes: number) => void },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    // NaN and infinity stay NaN when multiplied by 0, and a sum without branches costs nearly nothing.
    let probe = 0;
    for (let i = 0; i < chunk.length; i++) probe += chunk[i]! * 0;
    if (probe !== 0) throw modelErrors.checkpoint(`Tensor ${name} holds numbers that are not finite.`);
    yield new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    options.onBytes?.(chunk.byteLength);
  }
}

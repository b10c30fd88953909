/** The decoder of spec §2 and the length projection of spec §1.4 as ONNX graphs over one external data file. */
import type { ExternalTensor } from '../../../onnx/external-data.ts';
import { createGraphBuilder, type GraphBuilder } from '../../../onnx/graph-builder.ts';
import { ELEMENT_TYPES } from '../../../onnx/schema.ts';
import type { ConvolutionForm } from '../../manifest.ts';
import { CHANNEL_BLOCK, tileGroups } from '../spectral/candidates.ts';
import { emitSpectral } from '../spectral/spectral-graph.ts';
import type { DecoderArchitecture, Features } from './architecture.ts';
import { type Axis, type Convolution, directView, inOrder, layerConvolutions } from './convolutions.ts';

/** Epsilon of the layers' joint LayerNorm (spec §2.1). */
const NORM_EPSILON = 1e-5;

/** Where every weight of a decoder lies, by its name in the graph. */
export type PlacedWeights = ReadonlyMap<string, ExternalTensor>;

/** The way each convolution is computed, by its name; direct where there is none. */
export type ConvolutionForms = ReadonlyMap<string, ConvolutionForm>;

/** How graphs are written. */
export type GraphOptions = {
  readonly forms?: ConvolutionForms;
  /**
   * Direct convolutions whose kernels are float16 compute in it too, as GPUs do best; otherwise float16 is how weights are
   * stored, and computing stays in float32.
   */
  readonly computesInHalf?: boolean;
  /** Largest kernel of one direct convolution; {@link MAX_KERNEL_BYTES} when absent. */
  readonly maxKernelBytes?: number;
};

/**
 * ONNX Runtime keeps what its layout optimiser makes of a kernel inside a protobuf message, which ends at 2 GiB: the last
 * kernel of the published 0.5B decoder has 2.85 GB and would not load on a CPU. It also keeps three copies of a kernel while it
 * makes another layout of it: slices far below the limit bound those, and load a little faster (measured).
 */
export const MAX_KERNEL_BYTES = 128 << 20;

/** Name in the graph of the spectra that stand for a kernel. */
export function spectraName(convolution: Convolution): string {
  return `${convolution.kernelName}.spectra`;
}

/** Name in the graph of the rows that make up the tiles of a spectral convolution. */
export function rowsName(convolution: Convolution): string {
  return `${convolution.name}.rows`;
}

/** A value of the graph with the order its axes lie in, after the batch axis. */
type View = { readonly value: string; readonly axes: readonly Axis[] };

/** The part of a decoder that a graph holds. */
type Part = {
  readonly name: string;
  /** First layer, and the one after the last. */
  readonly from: number;
  readonly to: number;
  readonly input: string;
  readonly output: string;
};

/**
 * The whole decoder: `condition` `[B, N, Lt, C]` → `tokens` `[B, T, H, W]`, float32. B is 1 where a convolution of the
 * graph is spectral.
 */
export function decoderGraph(
  architecture: DecoderArchitecture,
  weights: PlacedWeights,
  options: GraphOptions = {},
): Uint8Array {
  const to = architecture.features.length - 1;
  const part = { name: 'decoder', from: 0, to, input: 'condition', output: 'tokens' };
  return encodePart(architecture, weights, options, part);
}

/** Layer `index` alone, the length projection included in the first: `x` → `y`, over the same weights. */
export function decoderStageGraph(
  architecture: DecoderArchitecture,
  weights: PlacedWeights,
  index: number,
  options: GraphOptions = {},
): Uint8Array {
  const part = { name: `decoder-stage-${index}`, from: index, to: index + 1, input: 'x', output: 'y' };
  return encodePart(architecture, weights, options, part);
}

function encodePart(
  architecture: DecoderArchitecture,
  weights: PlacedWeights,
  options: GraphOptions,
  part: Part,
): Uint8Array {
  const { features, projection } = architecture;
  const builder = createGraphBuilder(part.name);
  const emitter = createLayerEmitter(builder, weights, options);
  const isSpectral = [...(options.forms?.values() ?? [])].some(({ form }) => form === 'spectral');
  const batch = isSpectral ? 1 : 'B';
  const [n, l, c] = features[part.from]!;
  const projected = part.from === 0 && projection;
  let x = builder.input(part.input, 'float32', [batch, n, projected ? projection.tokens : l, c]);
  if (projected) x = emitProjection(builder, emitter.weight, projection, features[0]!, x);
  for (let index = part.from; index < part.to; index++) {
    const name = index === part.to - 1 ? part.output : `layer${index}.out`;
    x = emitter.layer(architecture, index, x, name);
  }
  builder.output(part.output, 'float32', [batch, ...features[part.to]!]);
  return builder.encode();
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

/** Emits the layers of one graph: what is fixed for the whole graph is bound here. */
function createLayerEmitter(graph: GraphBuilder, weights: PlacedWeights, options: GraphOptions) {
  const { forms, computesInHalf = false, maxKernelBytes = MAX_KERNEL_BYTES } = options;
  const weight = (name: string) => float32Weight(graph, name, weights.get(name)!);
  const three = graph.constant('three', new Float32Array([3]), []);

  function viewAs(view: View, axes: readonly Axis[], name: string): View {
    if (axes.every((axis, at) => axis === view.axes[at])) return view;
    const perm = [0, ...axes.map((axis) => view.axes.indexOf(axis) + 1)];
    return { value: graph.node(name, 'Transpose', [view.value], { perm: { ints: perm } }), axes };
  }

  /** The axes of the map that a convolution takes. */
  function axesIn(convolution: Convolution): readonly Axis[] {
    const { axes, channel, firstIn } = convolution;
    if (forms?.get(convolution.name)?.form !== 'spectral') return [channel, ...directView(convolution).axes];
    return [...inOrder(axes, firstIn), channel];
  }

  /** The convolution of a map, with a stored bias for its output channels where one is named. */
  function convolve(from: View, convolution: Convolution, bias?: string): View {
    const { name, axes, channel, firstOut } = convolution;
    const input = viewAs(from, axesIn(convolution), `${name}.view`).value;
    const form = forms?.get(name);
    if (form?.form !== 'spectral') {
      const value = emitDirect(graph, {
        convolution,
        x: input,
        bias,
        weights,
        computesInHalf,
        maxKernelBytes,
      });
      return { value, axes: axesIn(convolution) };
    }
    const spectra = emitSpectra(graph, spectraName(convolution), weights.get(spectraName(convolution))!);
    const rows = weight(rowsName(convolution));
    const groups = tileGroups(convolution, form);
    const value = emitSpectral(graph, { convolution, form, x: input, spectra, rows, groups });
    const out: View = { value, axes: [...inOrder(axes, firstOut), channel] };
    if (!bias) return out;
    return { ...out, value: graph.node(`${name}.biased`, 'Add', [value, weight(bias)]) };
  }

  /** One layer of spec §2.1 with the residual rule of §2.2; every value is named after the layer. */
  function layer(
    { kernel, features, projection }: DecoderArchitecture,
    index: number,
    x: string,
    name: string,
  ) {
    const [before, after] = [features[index]!, features[index + 1]!];
    const named = (value: string) => `layer${index}.${value}`;
    const own = (value: string) => weight(named(value));
    const { conv1w, conv1h, conv2h, conv2w, linear2 } = layerConvolutions(
      { kernel, features, projection },
      index,
    );
    const axes: readonly Axis[] = ['N', 'L', 'C'];
    const normalised: View = {
      value: graph.node(
        named('norm'),
        'LayerNormalization',
        [x, own('linear1.norm.weight'), own('linear1.norm.bias')],
        { axis: { int: -2 }, epsilon: { float: NORM_EPSILON } },
      ),
      axes,
    };
    const fused = axesIn(linear2);
    const widthFirst = convolve(convolve(normalised, conv1w), conv1h);
    const heightFirst = convolve(convolve(normalised, conv2h), conv2w);
    const bounded = { ...heightFirst, value: graph.node(named('tanh'), 'Tanh', [heightFirst.value]) };
    const both = graph.node(named('sum'), 'Add', [
      viewAs(widthFirst, fused, named('width-first.view')).value,
      viewAs(bounded, fused, named('height-first.view')).value,
    ]);
    const bias = ownBias(fused);
    const biased = graph.node(named('biased'), 'Add', [both, bias]);
    const mean = graph.node(named('mean'), 'Div', [biased, three]);
    const out = convolve({ value: mean, axes: fused }, linear2, named('linear2.bias'));
    const keepsShape = before.every((length, axis) => length === after[axis]);
    const result = viewAs(out, axes, named('out.view')).value;
    return keepsShape ? graph.node(name, 'Add', [result, x]) : graph.node(name, 'Identity', [result]);

    /** The bias `[L', C']` beside a map that may have its channels, the prompts or tokens, last. */
    function ownBias(order: readonly Axis[]): string {
      const value = own('linear1.bias');
      if (order.at(-1) !== 'N') return value;
      const shape = graph.constant(
        named('bias-shape'),
        BigInt64Array.from([...after.slice(1), 1].map(BigInt)),
        [3],
      );
      return graph.node(named('bias'), 'Reshape', [value, shape]);
    }
  }

  return { weight, layer };
}

/** A stored weight as float32, whatever it is stored as. */
function float32Weight(graph: GraphBuilder, name: string, tensor: ExternalTensor): string {
  if (tensor.elementType !== 'float16') return graph.weight(name, tensor);
  return castTo(graph, name, graph.weight(`${name}.half`, tensor), 'float32');
}

function castTo(graph: GraphBuilder, name: string, value: string, type: 'float32' | 'float16'): string {
  return graph.node(name, 'Cast', [value], { to: { int: ELEMENT_TYPES[type] } });
}

/** Stored spectra as float32. Halves are widened block by block, since the whole would be gigabytes at once. */
function emitSpectra(graph: GraphBuilder, name: string, tensor: ExternalTensor): string[] {
  if (tensor.elementType !== 'float16') return [graph.weight(name, tensor)];
  const [blocks] = tensor.shape as readonly [number, ...number[]];
  return Array.from({ length: blocks }, (_, block) =>
    float32Weight(graph, `${name}.${block}`, sliceRows(tensor, block, 1)),
  );
}

/**
 * A direct convolution over the last two axes with the input's size kept. A kernel above `maxKernelBytes` runs as several
 * convolutions over slices of its output channels, whose results are joined: the numbers are the same, and the slices lie
 * where the whole kernel lies.
 */
function emitDirect(
  graph: GraphBuilder,
  direct: {
    convolution: Convolution;
    x: string;
    bias: string | undefined;
    weights: PlacedWeights;
    computesInHalf: boolean;
    maxKernelBytes: number;
  },
): string {
  const { weights, maxKernelBytes } = direct;
  const { name, kernelName } = direct.convolution;
  const kernel = weights.get(kernelName)!;
  const bias = direct.bias === undefined ? undefined : weights.get(direct.bias)!;
  const inHalf = direct.computesInHalf && kernel.elementType === 'float16';
  const x = inHalf ? castTo(graph, `${name}.half`, direct.x, 'float16') : direct.x;
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
    const slice = sliceRows(kernel, from, count);
    const named = kernelName + suffix;
    const inputs = [x, inHalf ? graph.weight(named, slice) : float32Weight(graph, named, slice)];
    if (bias) {
      const stored = graph.weight(direct.bias + suffix, sliceRows(bias, from, count));
      inputs.push(inHalf ? castTo(graph, `${direct.bias}${suffix}.half`, stored, 'float16') : stored);
    }
    const value = graph.node(inHalf ? `${name}${suffix}.narrow` : name + suffix, 'Conv', inputs, attributes);
    slices.push(inHalf ? castTo(graph, name + suffix, value, 'float32') : value);
  }
  return slices.length === 1 ? slices[0]! : graph.node(name, 'Concat', slices, { axis: { int: 1 } });
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

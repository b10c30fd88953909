/** Spectral convolutions as graphs of plain ONNX operators; the arithmetic is in spectral.ts. */
import { createGraphBuilder, type GraphBuilder } from '../../onnx/graph-builder.ts';
import type { SpectralForm } from '../manifest.ts';
import { spectraShape, tilingsOf } from './candidates.ts';
import type { Convolution } from './convolutions.ts';
import {
  forwardFull,
  forwardHalf,
  halfSpectrum,
  inverseFull,
  inverseHalf,
  kernelSpectra,
  type Matrix,
  tileRows,
} from './spectral.ts';

/** What a spectral convolution is emitted from. */
export type SpectralInput = {
  readonly convolution: Convolution;
  readonly form: SpectralForm;
  /** A map `[1, first, second, inputs]`, its axes in the order of the convolution's `firstIn`. */
  readonly x: string;
  /** Values with the kernel's spectra, shaped as `spectraShape` says, whole or in runs of its blocks. */
  readonly spectra: readonly string[];
  /** Value with the rows that make up the tiles, as {@link spectralRows} gives them. */
  readonly rows: string;
};

/** The rows of a flattened map that make up the tiles of a spectral convolution. */
export function spectralRows(convolution: Convolution, form: SpectralForm): BigInt64Array {
  const { lengths, firstIn } = convolution;
  const rowLength = lengths[firstIn === 0 ? 1 : 0];
  const strides = form.half === firstIn ? { half: rowLength, full: 1 } : { half: 1, full: rowLength };
  return tileRows(tilingsOf(convolution, form), strides);
}

/**
 * Emits a spectral convolution for one map and returns its value, `[1, first, second, outputs]` in the order of
 * `firstOut`, named after the convolution. Channels stay innermost and points outermost, so that both transforms are products with a small matrix on the
 * left over long contiguous rows, every frequency finds its operands together, and nothing is transposed but whole rows.
 */
export function emitSpectral(graph: GraphBuilder, input: SpectralInput): string {
  const { convolution, form, x } = input;
  const { name, inputs, outputs } = convolution;
  const { half, full } = tilingsOf(convolution, form);
  const tiles = half.tiles * full.tiles;
  const halfFrequencies = halfSpectrum(half.points);
  const [blocks, frequencies, depth, blockChannels] = spectraShape(convolution, form);
  const named = (part: string) => `${name}.${part}`;
  const constant = (part: string, numbers: readonly number[]) =>
    graph.constant(named(part), BigInt64Array.from(numbers, BigInt), [numbers.length]);
  const matrix = (part: string, { rows, columns, values }: Matrix) =>
    graph.constant(named(part), values, [rows, columns]);
  const reshape = (part: string, value: string, shape: readonly number[]) =>
    graph.node(named(part), 'Reshape', [value, constant(`${part}-shape`, shape)]);
  const multiply = (part: string, left: string, right: string) =>
    graph.node(named(part), 'MatMul', [left, right]);

  const map = reshape('map', x, [half.length * full.length, inputs]);
  const padded = graph.node(named('padded'), 'Pad', [map, constant('one-row', [0, 0, 1, 0])]);
  const points = graph.node(named('points'), 'Gather', [padded, input.rows], { axis: { int: 0 } });
  const tilesIn = reshape('tiles', points, [half.points, full.points * tiles * inputs]);
  const halfIn = multiply('half', matrix('to-half', forwardHalf(half)), tilesIn);
  const rowsIn = reshape('half-rows', halfIn, [halfFrequencies, 2 * full.points, tiles * inputs]);
  const fullIn = multiply('full', matrix('to-full', forwardFull(full, form.products)), rowsIn);

  let factors = fullIn;
  if (form.products === 4) {
    // The factors of a row's tile lie a row of tiles apart, and side by side is where the product needs them.
    const apart = reshape('factors-apart', fullIn, [frequencies, 2, 2, tiles, inputs]);
    factors = graph.node(named('factors-sorted'), 'Transpose', [apart], { perm: { ints: [0, 1, 3, 2, 4] } });
  }
  const rows = form.products === 4 ? 2 * tiles : tiles;
  const left = reshape('factors', factors, [1, frequencies, rows, depth]);
  const isWhole = input.spectra.length === 1;
  const products = input.spectra.map((spectra, part) =>
    multiply(isWhole ? 'product' : `product.${part}`, left, spectra),
  );
  const product = isWhole
    ? products[0]!
    : graph.node(named('product'), 'Concat', products, { axis: { int: 0 } });

  const terms = frequencies / halfFrequencies / full.points;
  const rowsOut = reshape('product-rows', product, [
    blocks,
    halfFrequencies,
    (rows / tiles) * terms * full.points,
    tiles * blockChannels,
  ]);
  const fullOut = multiply('full-back', matrix('from-full', inverseFull(full, form.products)), rowsOut);
  const halfRows = reshape('half-back-rows', fullOut, [
    blocks,
    2 * halfFrequencies,
    full.outputs * tiles * blockChannels,
  ]);
  const outputsOfTiles = multiply('half-back', matrix('from-half', inverseHalf(half)), halfRows);
  const tilesOut = reshape('tiles-back', outputsOfTiles, [
    blocks,
    half.outputs,
    full.outputs,
    half.tiles,
    full.tiles,
    blockChannels,
  ]);

  // Back into a map: a tile's outputs go between its neighbours', blocks of channels beside each other.
  const halfFirst = convolution.firstOut === form.half;
  const [first, second] = halfFirst ? [half, full] : [full, half];
  const perm = halfFirst ? [3, 1, 4, 2, 0, 5] : [4, 2, 3, 1, 0, 5];
  const sorted = graph.node(named('sorted'), 'Transpose', [tilesOut], { perm: { ints: perm } });
  const shape = [
    1,
    first.tiles * first.outputs,
    second.tiles * second.outputs,
    blocks * blockChannels,
  ] as const;
  const wanted = [1, first.length, second.length, outputs];
  if (wanted.every((length, axis) => length === shape[axis])) return reshapeTo(graph, name, sorted, shape);
  const whole = reshape('whole', sorted, shape);
  return graph.node(name, 'Slice', [
    whole,
    constant('slice-start', [0, 0, 0]),
    constant('slice-end', wanted.slice(1)),
    constant('slice-axes', [1, 2, 3]),
  ]);
}

function reshapeTo(graph: GraphBuilder, name: string, value: string, shape: readonly number[]): string {
  const target = graph.constant(`${name}.out-shape`, BigInt64Array.from(shape, BigInt), [shape.length]);
  return graph.node(name, 'Reshape', [value, target]);
}

/**
 * A graph that turns a block of kernels into its spectra: `kernels` `[channels, inputs, k²]` → `spectra`
 * `[frequencies, factors × inputs, channels]`.
 */
export function spectraGraph(convolution: Convolution, form: SpectralForm): Uint8Array {
  const { inputs, kernel } = convolution;
  const { blockChannels } = form;
  const area = kernel * kernel;
  const graph = createGraphBuilder('spectra');
  const kernels = graph.input('kernels', 'float32', [blockChannels, inputs, area]);
  const taps = graph.node('taps', 'Transpose', [kernels], { perm: { ints: [2, 1, 0] } });
  const shape = graph.constant('taps-shape', BigInt64Array.of(BigInt(area), -1n), [2]);
  const columns = graph.node('columns', 'Reshape', [taps, shape]);
  const { rows, values } = kernelSpectra(kernel, form.half, tilingsOf(convolution, form), form.products);
  const transform = graph.constant('transform', values, [rows, area]);
  const products = graph.node('products', 'MatMul', [transform, columns]);
  const [, ...blockShape] = spectraShape(convolution, form);
  const target = graph.constant('block-shape', BigInt64Array.from(blockShape, BigInt), [3]);
  graph.node('spectra', 'Reshape', [products, target]);
  graph.output('spectra', 'float32', blockShape);
  return graph.encode();
}

/**
 * A graph of one block of a spectral convolution: `x`, `spectra` and `rows` as {@link SpectralInput} has them → `y`
 * `[1, first, second, channels of the block]`.
 */
export function spectralBlockGraph(convolution: Convolution, form: SpectralForm): Uint8Array {
  const block = { ...convolution, name: 'y', outputs: form.blockChannels };
  const { lengths, inputs, firstIn, firstOut } = block;
  const [first, second] = lengths;
  const graph = createGraphBuilder('spectral-block');
  const x = graph.input('x', 'float32', [1, ...(firstIn === 0 ? lengths : [second, first]), inputs]);
  const spectra = graph.input('spectra', 'float32', spectraShape(block, form));
  const rows = graph.input('rows', 'int64', ['points']);
  emitSpectral(graph, { convolution: block, form, x, spectra: [spectra], rows });
  graph.output('y', 'float32', [1, ...(firstOut === 0 ? lengths : [second, first]), block.outputs]);
  return graph.encode();
}

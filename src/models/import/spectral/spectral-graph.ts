/** Spectral convolutions as graphs of plain ONNX operators; the arithmetic is in spectral.ts. */
import { createGraphBuilder, type GraphBuilder } from '../../../onnx/graph-builder.ts';
import type { SpectralForm } from '../../manifest.ts';
import { type Convolution, inOrder } from '../dnd/convolutions.ts';
import { spectraShape, tileGroups, tilingsOf } from './candidates.ts';
import {
  type AxisTiling,
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
  /** As `tileGroups` gives them for the whole convolution. */
  readonly groups: readonly AxisTiling[];
};

/** The rows of a flattened map that make up the tiles of a spectral convolution, group after group. */
export function spectralRows(
  convolution: Convolution,
  form: SpectralForm,
  tilesInGroups: readonly AxisTiling[] = tileGroups(convolution, form),
): BigInt64Array {
  const { lengths, firstIn } = convolution;
  const [, rowLength] = inOrder(lengths, firstIn);
  const strides = form.half === firstIn ? { half: rowLength, full: 1 } : { half: 1, full: rowLength };
  const { full } = tilingsOf(convolution, form);
  const groups = tilesInGroups.map((half) => tileRows({ half, full }, strides));
  const rows = new BigInt64Array(groups.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const group of groups) {
    rows.set(group, at);
    at += group.length;
  }
  return rows;
}

/**
 * Emits a spectral convolution for one map and returns its value, `[1, first, second, outputs]` in the order of
 * `firstOut`, named after the convolution. Channels stay innermost and points outermost, so that both transforms are products
 * with a small matrix on the left over long contiguous rows, every frequency finds its operands together, and nothing is
 * transposed but whole rows.
 */
export function emitSpectral(graph: GraphBuilder, input: SpectralInput): string {
  const { convolution, form, groups, x } = input;
  const { name, inputs, outputs, firstOut } = convolution;
  const { half, full } = tilingsOf(convolution, form);
  const named = (part: string) => `${name}.${part}`;
  const constant = (part: string, numbers: readonly number[]) =>
    graph.constant(named(part), BigInt64Array.from(numbers, BigInt), [numbers.length]);
  const matrix = (part: string, { rows, columns, values }: Matrix) =>
    graph.constant(named(part), values, [rows, columns]);

  const mapShape = constant('map-shape', [half.length * full.length, inputs]);
  const map = graph.node(named('map'), 'Reshape', [x, mapShape]);
  const padded = graph.node(named('padded'), 'Pad', [map, constant('one-row', [0, 0, 1, 0])]);
  const matrices = {
    toHalf: matrix('to-half', forwardHalf(half)),
    toFull: matrix('to-full', forwardFull(full, form.products)),
    fromFull: matrix('from-full', inverseFull(full, form.products)),
    fromHalf: matrix('from-half', inverseHalf(half)),
  };
  let from = 0;
  const parts = groups.map((group, at) => {
    const count = group.points * full.points * group.tiles * full.tiles;
    const isAll = groups.length === 1;
    const rows = isAll
      ? input.rows
      : graph.node(named(`rows.${at}`), 'Slice', [
          input.rows,
          constant(`rows-start.${at}`, [from]),
          constant(`rows-end.${at}`, [from + count]),
        ]);
    from += count;
    return emitGroup(graph, { input, group, padded, rows, matrices, suffix: isAll ? '' : `.${at}` });
  });
  const isHalfFirst = firstOut === form.half;
  const axis = isHalfFirst ? 1 : 2;
  const whole =
    parts.length === 1 ? parts[0]! : graph.node(named('whole'), 'Concat', parts, { axis: { int: axis } });
  const [first, second] = isHalfFirst ? [half, full] : [full, half];
  return graph.node(name, 'Slice', [
    whole,
    constant('slice-start', [0, 0, 0]),
    constant('slice-end', [first.length, second.length, outputs]),
    constant('slice-axes', [1, 2, 3]),
  ]);
}

/** Emits one group of tiles: from the padded map to a part of the output, all of it that the tiles cover. */
function emitGroup(
  graph: GraphBuilder,
  part: {
    readonly input: SpectralInput;
    readonly group: AxisTiling;
    readonly padded: string;
    readonly rows: string;
    readonly matrices: Readonly<Record<'toHalf' | 'toFull' | 'fromFull' | 'fromHalf', string>>;
    readonly suffix: string;
  },
): string {
  const { group, matrices } = part;
  const { convolution, form, spectra } = part.input;
  const { name, inputs, firstOut } = convolution;
  const { full } = tilingsOf(convolution, form);
  const tiles = group.tiles * full.tiles;
  const halfFrequencies = halfSpectrum(group.points);
  const [blocks, frequencies, depth, blockChannels] = spectraShape(convolution, form);
  const named = (value: string) => `${name}.${value}${part.suffix}`;
  const reshape = (as: string, value: string, shape: readonly number[]) => {
    const target = graph.constant(named(`${as}-shape`), BigInt64Array.from(shape, BigInt), [shape.length]);
    return graph.node(named(as), 'Reshape', [value, target]);
  };
  const multiply = (as: string, left: string, right: string) =>
    graph.node(named(as), 'MatMul', [left, right]);

  const points = graph.node(named('points'), 'Gather', [part.padded, part.rows], { axis: { int: 0 } });
  const tilesIn = reshape('tiles', points, [group.points, full.points * tiles * inputs]);
  const halfIn = multiply('half', matrices.toHalf, tilesIn);
  const rowsIn = reshape('half-rows', halfIn, [halfFrequencies, 2 * full.points, tiles * inputs]);
  const fullIn = multiply('full', matrices.toFull, rowsIn);

  let factors = fullIn;
  if (form.products === 4) {
    // The factors of a row's tile lie a row of tiles apart, and side by side is where the product needs them.
    const apart = reshape('factors-apart', fullIn, [frequencies, 2, 2, tiles, inputs]);
    factors = graph.node(named('factors-sorted'), 'Transpose', [apart], { perm: { ints: [0, 1, 3, 2, 4] } });
  }
  const rows = form.products === 4 ? 2 * tiles : tiles;
  const left = reshape('factors', factors, [1, frequencies, rows, depth]);
  const products = spectra.map((some, at) => multiply(`product-${at}`, left, some));
  const product =
    products.length === 1
      ? products[0]!
      : graph.node(named('product'), 'Concat', products, { axis: { int: 0 } });

  const terms = frequencies / halfFrequencies / full.points;
  const rowsOut = reshape('product-rows', product, [
    blocks,
    halfFrequencies,
    (rows / tiles) * terms * full.points,
    tiles * blockChannels,
  ]);
  const fullOut = multiply('full-back', matrices.fromFull, rowsOut);
  const halfRows = reshape('half-back-rows', fullOut, [
    blocks,
    2 * halfFrequencies,
    full.outputs * tiles * blockChannels,
  ]);
  const outputsOfTiles = multiply('half-back', matrices.fromHalf, halfRows);
  const tilesOut = reshape('tiles-back', outputsOfTiles, [
    blocks,
    group.outputs,
    full.outputs,
    group.tiles,
    full.tiles,
    blockChannels,
  ]);

  // Back into a map: a tile's outputs go between its neighbours', blocks of channels beside each other.
  const isHalfFirst = firstOut === form.half;
  const [first, second] = isHalfFirst ? [group, full] : [full, group];
  const perm = isHalfFirst ? [3, 1, 4, 2, 0, 5] : [4, 2, 3, 1, 0, 5];
  const sorted = graph.node(named('sorted'), 'Transpose', [tilesOut], { perm: { ints: perm } });
  return reshape('part', sorted, [
    1,
    first.tiles * first.outputs,
    second.tiles * second.outputs,
    blocks * blockChannels,
  ]);
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
  const graph = createGraphBuilder('spectral-block');
  const x = graph.input('x', 'float32', [1, ...inOrder(lengths, firstIn), inputs]);
  const spectra = graph.input('spectra', 'float32', spectraShape(block, form));
  const rows = graph.input('rows', 'int64', ['points']);
  const groups = tileGroups(convolution, form);
  emitSpectral(graph, { convolution: block, form, x, spectra: [spectra], rows, groups });
  graph.output('y', 'float32', [1, ...inOrder(lengths, firstOut), block.outputs]);
  return graph.encode();
}

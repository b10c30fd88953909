/** The end of a DnD generator as ONNX graphs: weight tokens → LoRA matrices (spec §3.2, §3.4). */
import type { LoraModule, LoraStack, TokenLayout } from '../../../lora/layout.ts';
import { loraStacks, tokenCount, tokenShape, tokensPerLayer } from '../../../lora/tensors.ts';
import { createGraphBuilder, type GraphBuilder } from '../../../onnx/graph-builder.ts';
import { ELEMENT_TYPES } from '../../../onnx/schema.ts';
import type { BundleManifest } from '../../manifest.ts';
import { matrixGroups } from './matrix-groups.ts';

/** The graphs that make all modules of a layout, by their file names. */
export function matricesGraphs(layout: TokenLayout): Map<string, Uint8Array> {
  return new Map(matrixGroups(layout).map(({ file, modules }) => [file, matricesGraph(layout, modules)]));
}

/**
 * The graphs that a bundle of version 1 lacks, whose own graphs end in weight tokens: they follow from its layout alone.
 * Undefined where it lacks none.
 */
export function suppliedGraphs({
  files,
  generator,
  layout,
}: BundleManifest): ReadonlyMap<string, Uint8Array> | undefined {
  const listed = new Set(files.map(({ name }) => name));
  const lacks = generator.matrices.some(({ file }) => !listed.has(file));
  return lacks ? matricesGraphs(layout as TokenLayout) : undefined;
}

/**
 * `tokens` `[B, T, H, W]` → `<module>.A` `[layers, rank, in]` and `<module>.B` `[layers, out, rank]` for each of `own`,
 * consecutive modules of the layout; all float32, and B is 1. Scales are made in float64, since a deviation is a small
 * difference of larger numbers (spec §3.4).
 */
export function matricesGraph(layout: TokenLayout, own: readonly LoraModule[]): Uint8Array {
  const { layers, modules, chunkWidth } = layout;
  const [height, width] = tokenShape(layout);
  const graph = createGraphBuilder('matrices');
  const ints = createIntegers(graph);
  const tokens = graph.input('tokens', 'float32', ['B', tokenCount(layout), height, width]);
  const sides = [layers, tokensPerLayer(layout), height, width];
  const view = graph.node('layers', 'Reshape', [tokens, ints(sides)]);
  const chunksOf = (list: readonly LoraModule[]) =>
    list.reduce((sum, module) => sum + (module.in + module.out) / chunkWidth, 0);
  const start = chunksOf(modules.slice(0, modules.indexOf(own[0]!)));
  const emitter: Emitter = { graph, ints, layout, view };
  const scale = emitScale(emitter, start, chunksOf(own));
  let first = 0;
  for (const [index, stack] of loraStacks({ ...layout, modules: [...own] }).entries()) {
    const count = (stack.side === 'A' ? stack.module.in : stack.module.out) / chunkWidth;
    emitStack(emitter, stack, { ...scale, prefix: String(index), start, first, count });
    graph.output(stackName(stack), 'float32', stack.shape);
    first += count;
  }
  return graph.encode();
}

/** Name of a stack among the outputs of a bundle's graphs: `self_attn.q_proj.A`. */
export function stackName({ module, side }: Pick<LoraStack, 'module' | 'side'>): string {
  return `${module.path}.${side}`;
}

/** What every part of the graph needs; `view` is the tokens as `[layers, tokens of a layer, H, W]`. */
type Emitter = {
  readonly graph: GraphBuilder;
  readonly ints: (values: readonly number[]) => string;
  readonly layout: TokenLayout;
  readonly view: string;
};

/** Makes one constant of each list of integers, however often it is asked for. */
function createIntegers(graph: GraphBuilder): Emitter['ints'] {
  const known = new Set<string>();
  return (values) => {
    const name = values.join();
    if (known.has(name)) return name;
    known.add(name);
    return graph.constant(name, BigInt64Array.from(values.map(BigInt)), [values.length]);
  };
}

/** One stack from the chunks `first`…`first + count` of the graph's own, which begin at `start` in a layer. */
function emitStack(
  { graph, ints, layout, view }: Emitter,
  stack: LoraStack,
  chunk: { mean: string; deviation: string; prefix: string; start: number; first: number; count: number },
): void {
  const { rank, chunkWidth, layers } = layout;
  const { side, shape } = stack;
  const { first, count } = chunk;
  const from = chunk.start + first;
  const node = (name: string, ...rest: NodeArguments) => graph.node(`${name}${chunk.prefix}`, ...rest);
  const cells = [ints([from, 0, 0]), ints([from + count, rank, chunkWidth]), ints([1, 2, 3])];
  const chunks = node('chunks', 'Slice', [view, ...cells]);
  const ownPart = (name: string, value: string) =>
    node(name, 'Slice', [value, ints([first]), ints([first + count]), ints([1])]);
  const deviation = ownPart('deviation', chunk.deviation);
  const mean = ownPart('mean', chunk.mean);
  // B is scaled before its axes change places: then the scale is one number for a long run of neighbours.
  const scaled = side === 'B' ? node('scaled', 'Mul', [chunks, deviation]) : chunks;
  const perm = side === 'A' ? [0, 2, 1, 3] : [0, 1, 3, 2];
  const turned = node('turned', 'Transpose', [scaled], { perm: { ints: perm } });
  // A view, since it is not an output: as the last step it would be a copy.
  const matrix = node('matrix', 'Reshape', [turned, ints(shape)]);
  /** A number of each chunk, `[layers, count, 1, 1]`, for each of the chunk's columns. */
  const spread = (name: string, value: string) => {
    const columns = node(`${name}s`, 'Expand', [value, ints([layers, count, chunkWidth, 1])]);
    const wide = count * chunkWidth;
    return node(name, 'Reshape', [columns, ints(side === 'A' ? [layers, 1, wide] : [layers, wide, 1])]);
  };
  const standardised = side === 'A' ? node('scaled', 'Mul', [matrix, spread('scale', deviation)]) : matrix;
  graph.node(stackName(stack), 'Add', [standardised, spread('shift', mean)]);
}

type NodeArguments = Parameters<GraphBuilder['node']> extends [string, ...infer Rest] ? Rest : never;

/**
 * Mean and deviation of the chunks `start`…`start + count` of every layer, each `[layers, count, 1, 1]` float32, from the
 * scale cells of their tokens (spec §3.4).
 */
function emitScale(
  { graph, ints, layout, view }: Emitter,
  start: number,
  count: number,
): { mean: string; deviation: string } {
  const { layers } = layout;
  const [height, width] = tokenShape(layout);
  const number = (name: string, value: number) => graph.constant(name, new Float64Array([value]), []);
  /** Averages of the cells in the last two rows or columns, `[layers, count, 2, 2]`: by parity of row, then of column. */
  const averages = (name: string, axis: 2 | 3, shape: readonly number[]) => {
    const end = axis === 2 ? height : width;
    const place = [ints([start, end - 2]), ints([start + count, end]), ints([1, axis])];
    const cells = graph.node(`${name}.cells`, 'Slice', [view, ...place]);
    const pairs = graph.node(`${name}.pairs`, 'Reshape', [cells, ints([layers, count, ...shape])]);
    const wide = graph.node(`${name}.wide`, 'Cast', [pairs], { to: { int: ELEMENT_TYPES.float64 } });
    const over = { axes: { ints: [axis === 2 ? 3 : 2] }, keepdims: { int: 0 } };
    return graph.node(`${name}.average`, 'ReduceMean', [wide], over);
  };
  const rows = averages('rows', 2, [2, width / 2, 2]);
  const columns = averages('columns', 3, [height / 2, 2, 2]);
  const cells = graph.node('cells', 'Add', [rows, columns]);
  /** Twice the cells of one parity, even for means and odd for deviations, `[layers, count, 2, 1]`. */
  const ofParity = (name: string, parity: number) =>
    graph.node(name, 'Slice', [cells, ints([parity]), ints([parity + 1]), ints([3])]);
  const inFloat32 = (name: string, value: string) => {
    const average = graph.node(`${name}.wide`, 'ReduceMean', [value], { axes: { ints: [2] } });
    return graph.node(name, 'Cast', [average], { to: { int: ELEMENT_TYPES.float32 } });
  };
  const means = graph.node('means', 'Div', [ofParity('mean-cells', 0), number('sixteen', 16)]);
  const halved = graph.node('halved', 'Div', [ofParity('deviation-cells', 1), number('two', 2)]);
  const exp = graph.node('exp', 'Exp', [graph.node('shifted', 'Sub', [halved, number('shift', 1.6)])]);
  const raised = graph.node('raised', 'Sub', [exp, number('tenth', 0.1)]);
  const deviations = graph.node('deviations', 'Div', [raised, number('nine-tenths', 0.9)]);
  return { mean: inFloat32('mean', means), deviation: inFloat32('deviation', deviations) };
}

/** The hypernetwork of Text-to-LoRA as ONNX graphs: the embedding of a description → stacks of LoRA matrices. */
import type { ExternalTensor } from '../../../onnx/external-data.ts';
import { createGraphBuilder, type GraphBuilder } from '../../../onnx/graph-builder.ts';
import { ELEMENT_TYPES } from '../../../onnx/schema.ts';
import { type Block, type HeadModule, type Hypernetwork, latentOf, SIDES } from './hypernetwork.ts';

/** Epsilon of every LayerNorm (PyTorch's default). */
const NORM_EPSILON = 1e-5;
/** Smallest length that an embedding is divided by (PyTorch's `normalize`). */
const MIN_LENGTH = 1e-12;
/** Added to deviations before they multiply standard scores. */
const DEVIATION_EPSILON = 1e-10;

/** Where every tensor lies, by its published name. */
export type PlacedTensors = ReadonlyMap<string, ExternalTensor>;

/**
 * Everything before the heads: `condition` `[1, width]`, the encoder's hidden state of a description's first token, →
 * `head-in` `[1, modules, rows, headIn]`, float32. A module's rows are the layers, twice where A and B share a head. All rows
 * of all modules go through the blocks as one matrix.
 */
export function trunkGraph(network: Hypernetwork, placed: PlacedTensors): Uint8Array {
  const graph = createGraphBuilder('hypernetwork');
  const emitter = createEmitter(graph, placed);
  const latent = emitter.block('mixer', emitLatent(graph, emitter, network));
  const mixed = emitter.residual('mlp1', latent);
  const told = network.sharedHead ? emitSides(graph, emitter, network, mixed) : mixed;
  const rows = emitter.block('mlp3', emitter.residual('mlp2', told));
  const shape = headInShape(network);
  graph.output(emitter.reshape('head-in', rows, shape), 'float32', shape);
  return graph.encode();
}

/**
 * The head of the module at `index` of the module order: `head-in` of {@link trunkGraph} → `<path>.A` `[layers, r, in]` and
 * `<path>.B` `[layers, out, r]`, float32, on the scale of the adapter.
 */
export function headGraph(
  network: Hypernetwork,
  placed: PlacedTensors,
  { index, path }: { readonly index: number; readonly path: string },
): Uint8Array {
  const graph = createGraphBuilder('head');
  const emitter = createEmitter(graph, placed);
  const { layers, rank, headIn } = network;
  const module = network.modules[index]!;
  const shape = headInShape(network);
  const input = graph.input('head-in', 'float32', shape);
  const own = emitter.slice('own', input, { axis: 1, from: index, to: index + 1 });
  const numbers = emitter.linear(`heads.${module.name}`, emitter.reshape('rows', own, [shape[2], headIn]));
  for (const side of SIDES) {
    const raw = emitMatrices(emitter, network, module, side, numbers);
    const name = `${path}.${side}`;
    graph.node(name, 'Identity', [emitScale(graph, emitter, network, `${side}.${module.name}`, raw)]);
    graph.output(name, 'float32', side === 'A' ? [layers, rank, module.in] : [layers, module.out, rank]);
  }
  return graph.encode();
}

function headInShape({
  modules,
  layers,
  headIn,
  sharedHead,
}: Hypernetwork): [number, number, number, number] {
  return [1, modules.length, layers * (sharedHead ? SIDES.length : 1), headIn];
}

type Emitter = ReturnType<typeof createEmitter>;

/** The parts that every step is made of. */
function createEmitter(graph: GraphBuilder, placed: PlacedTensors) {
  const weights = new Map<string, string>();
  /** A stored tensor as float32, whatever it is stored as. */
  const weight = (name: string): string => {
    const known = weights.get(name);
    if (known !== undefined) return known;
    const tensor = placed.get(name)!;
    const value =
      tensor.elementType === 'float16'
        ? graph.node(name, 'Cast', [graph.weight(`${name}.half`, tensor)], {
            to: { int: ELEMENT_TYPES.float32 },
          })
        : graph.weight(name, tensor);
    weights.set(name, value);
    return value;
  };
  const integers = (name: string, values: readonly number[]) =>
    graph.constant(name, BigInt64Array.from(values.map(BigInt)), [values.length]);
  const reshape = (name: string, x: string, shape: readonly number[]) =>
    graph.node(name, 'Reshape', [x, integers(`${name}.shape`, shape)]);
  const expand = (name: string, x: string, shape: readonly number[]) =>
    graph.node(name, 'Expand', [x, integers(`${name}.shape`, shape)]);
  const slice = (name: string, x: string, { axis, from, to }: { axis: number; from: number; to: number }) =>
    graph.node(name, 'Slice', [
      x,
      integers(`${name}.from`, [from]),
      integers(`${name}.to`, [to]),
      integers(`${name}.axis`, [axis]),
    ]);
  const linear = (name: string, x: string) => {
    const bias = placed.has(`${name}.bias`) ? [weight(`${name}.bias`)] : [];
    return graph.node(`${name}.out`, 'Gemm', [x, weight(`${name}.weight`), ...bias], { transB: { int: 1 } });
  };
  const norm = (name: string, x: string, as = name) =>
    graph.node(`${as}.norm`, 'LayerNormalization', [x, weight(`${name}.weight`), weight(`${name}.bias`)], {
      axis: { int: -1 },
      epsilon: { float: NORM_EPSILON },
    });
  const silu = (x: string) => graph.node(`${x}.silu`, 'Mul', [x, graph.node(`${x}.gate`, 'Sigmoid', [x])]);
  const two = (prefix: string, x: string) => silu(linear(`${prefix}.4`, silu(linear(`${prefix}.1`, x))));
  return {
    weight,
    reshape,
    expand,
    slice,
    linear,
    norm,
    /** B comes out of a head as its transpose. */
    turned: (name: string, x: string, side: 'A' | 'B') =>
      side === 'A' ? x : graph.node(name, 'Transpose', [x], { perm: { ints: [0, 2, 1] } }),
    /** The mixer, or the block before the heads, which begins with a LayerNorm. */
    block: (name: Extract<Block, 'mixer' | 'mlp3'>, x: string) =>
      two(name, name === 'mixer' ? x : norm(`${name}.0`, x)),
    residual: (name: Exclude<Block, 'mixer' | 'mlp3'>, x: string) =>
      graph.node(`${name}.sum`, 'Add', [x, two(`${name}.mlp`, norm(`${name}.mlp.0`, x))]),
  };
}

/** The normalised embedding through the task encoder, beside those of every layer and module: `[modules · layers, H]`. */
function emitLatent(graph: GraphBuilder, emitter: Emitter, network: Hypernetwork): string {
  const { width, layers, modules, parts } = network;
  const scalar = (name: string, value: number) => graph.constant(name, Float32Array.of(value), []);
  const condition = graph.input('condition', 'float32', [1, width]);
  const length = graph.node('length', 'ReduceL2', [condition], {
    axes: { ints: [-1] },
    keepdims: { int: 1 },
  });
  const divisor = graph.node('length.bounded', 'Max', [length, scalar('length.min', MIN_LENGTH)]);
  const direction = graph.node('direction', 'Div', [condition, divisor]);
  const embedding = graph.node('embedding', 'Mul', [direction, scalar('embedding.scale', Math.sqrt(width))]);
  const task = emitter.norm('task_encoder.mlp.1', emitter.linear('task_encoder.mlp.0', embedding));
  const depth = emitter.norm('layer_depth_encoder.1', emitter.weight('layer_depth_encoder.0.weight'));
  const type = emitter.norm('layer_type_encoder.1', emitter.weight('layer_type_encoder.0.weight'));
  const everywhere = (name: string, x: string, shape: readonly number[], side: number) =>
    emitter.expand(`${name}.rows`, emitter.reshape(`${name}.view`, x, shape), [modules.length, layers, side]);
  const joined = graph.node(
    'latent.view',
    'Concat',
    [
      everywhere('task', task, [1, 1, parts[0]], parts[0]),
      everywhere('depth', depth, [1, layers, parts[1]], parts[1]),
      everywhere('type', type, [modules.length, 1, parts[2]], parts[2]),
    ],
    { axis: { int: -1 } },
  );
  return emitter.reshape('latent', joined, [modules.length * layers, latentOf(network)]);
}

/** Where A and B share a head: each row twice, with the vector of A and with that of B added: `[modules · 2 · layers, H]`. */
function emitSides(graph: GraphBuilder, emitter: Emitter, network: Hypernetwork, x: string): string {
  const { modules, layers } = network;
  const latent = latentOf(network);
  const vectors = modules.flatMap(({ name }) =>
    SIDES.map((side) =>
      emitter.reshape(`${name}.${side}.vector`, emitter.weight(`out_emb.${name}.${side}`), [1, latent]),
    ),
  );
  const stacked = graph.node('sides', 'Concat', vectors, { axis: { int: 0 } });
  const normed = emitter.norm('out_emb_norm', stacked, 'sides');
  const told = graph.node('told.view', 'Add', [
    emitter.reshape('mixed.view', x, [modules.length, 1, layers, latent]),
    emitter.reshape('sides.view', normed, [modules.length, SIDES.length, 1, latent]),
  ]);
  return emitter.reshape('told', told, [modules.length * SIDES.length * layers, latent]);
}

/** One side of a head's numbers as matrices: A `[layers, r, in]`, B `[layers, out, r]`. */
function emitMatrices(
  emitter: Emitter,
  { layers, rank, sharedHead }: Hypernetwork,
  module: HeadModule,
  side: 'A' | 'B',
  numbers: string,
): string {
  const named = (part: string) => `${module.name}.${side}.${part}`;
  const columns = side === 'A' ? module.in : module.out;
  const shape = [layers, rank, columns];
  if (!sharedHead) {
    const from = side === 'A' ? 0 : rank * module.in;
    const own = emitter.slice(named('numbers'), numbers, { axis: 1, from, to: from + rank * columns });
    return emitter.turned(named('turned'), emitter.reshape(named('view'), own, shape), side);
  }
  const from = side === 'A' ? 0 : layers;
  const own = emitter.slice(named('numbers'), numbers, { axis: 0, from, to: from + layers });
  const whole = emitter.reshape(named('view'), own, [layers, rank, Math.max(module.in, module.out)]);
  return emitter.turned(
    named('turned'),
    emitter.slice(named('cut'), whole, { axis: 2, from: 0, to: columns }),
    side,
  );
}

/** Matrices on the scale of the adapter. `key` is the end of the names of their statistics: `A.q_proj`. */
function emitScale(
  graph: GraphBuilder,
  emitter: Emitter,
  network: Hypernetwork,
  key: string,
  raw: string,
): string {
  const { scale, offset } = network;
  const named = (part: string) => `${key}.${part}`;
  let x = raw;
  if (scale.kind === 'divided') {
    x = graph.node(named('divided'), 'Div', [
      x,
      graph.constant(named('divisor'), Float32Array.of(scale.by), []),
    ]);
  }
  if (scale.kind === 'z-score') {
    const epsilon = graph.constant(named('epsilon'), Float32Array.of(DEVIATION_EPSILON), []);
    const deviation = graph.node(named('deviation'), 'Add', [
      emitter.weight(`std_recon_target.${key}`),
      epsilon,
    ]);
    const spread = graph.node(named('spread'), 'Mul', [x, deviation]);
    x = graph.node(named('placed'), 'Add', [spread, emitter.weight(`mean_recon_target.${key}`)]);
  }
  return offset ? graph.node(named('moved'), 'Add', [x, emitter.weight(`AB_offset.${key}`)]) : x;
}

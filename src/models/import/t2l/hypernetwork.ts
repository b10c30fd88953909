/** The hypernetwork of Text-to-LoRA as its tensors tell it: sizes, modules, and the tensors that it needs. */
import { modelErrors } from '../../errors.ts';
import type { StateDictEntry } from '../checkpoint/state-dict.ts';
import type { TrainingArgs } from './training-args.ts';
import { findVariant, type RawScale } from './variant.ts';

/** A linear module of the base for which matrices are made; `in` and `out` as in the base's weight `[out, in]`. */
export type HeadModule = {
  /** Last part of the module's path: `q_proj`. */
  readonly name: string;
  readonly in: number;
  readonly out: number;
};

/** A hypernetwork. */
export type Hypernetwork = {
  /** Width of a description's embedding. */
  readonly width: number;
  readonly layers: number;
  readonly rank: number;
  /** Widths of the embeddings of task, layer and module, which make the latent vector in this order. */
  readonly parts: readonly [task: number, depth: number, type: number];
  /** Inner widths of the mixer and the three blocks behind it. */
  readonly inner: Readonly<Record<Block, number>>;
  /** Width of what the heads take. */
  readonly headIn: number;
  /** In the order of the module embedding's rows. */
  readonly modules: readonly HeadModule[];
  readonly headBias: boolean;
  readonly sharedHead: boolean;
  readonly scale: RawScale;
  /** Whether a stored offset is added to every matrix. */
  readonly offset: boolean;
};

/** The mixer and the blocks, by the names of their first linear layer's module. */
export type Block = 'mixer' | 'mlp1' | 'mlp2' | 'mlp3';
/** Where the state dict has the layers of each block. */
const BLOCK_PREFIX: Readonly<Record<Block, string>> = {
  mixer: 'mixer',
  mlp1: 'mlp1.mlp',
  mlp2: 'mlp2.mlp',
  mlp3: 'mlp3',
};

/** A tensor that the hypernetwork needs, under its name in the state dict. */
export type HypernetworkTensor = { readonly name: string; readonly shape: readonly number[] };

/** Largest side of a tensor: a shared head of the largest bases has 8 · 28,672 rows. */
const MAX_SIDE = 1 << 24;
/** Statistics that a checkpoint has whether its variant uses them or not. */
const STATISTICS = /^(?:AB_offset|mean_recon_target|std_recon_target)\./;
/** Parts of names that wrappers of modules put in front. */
const WRAPPERS = /^(?:module\.|_orig_mod\.)+/;

const refuse = modelErrors.checkpoint;

/** What a hypernetwork has to agree with beside its own tensors. */
export type Expected = {
  readonly args: TrainingArgs;
  readonly rank: number;
  /** Names of the modules that the adapter's configuration targets. */
  readonly targets: readonly string[];
  /** Widths of a module of the base. Throws for a name that the base does not have. */
  readonly widthsOf: (name: string) => { readonly in: number; readonly out: number };
  readonly layers: number;
  /** In place of the order in which the state dict has the heads. */
  readonly moduleOrder?: readonly string[];
};

/** A hypernetwork that was found, and from its tensors' published names to those of the file. */
export type FoundHypernetwork = {
  readonly hypernetwork: Hypernetwork;
  readonly names: ReadonlyMap<string, string>;
};

/**
 * Finds the hypernetwork in the tensors of a checkpoint and checks that they are all there, of the right shapes, and no others.
 *
 * The order of the modules is that in which the state dict has their heads: the rows of the module embedding were numbered by
 * a Python set, whose order changes from process to process, and only the heads were saved in the order of training.
 * Errors: `checkpoint-invalid` naming the tensor or option.
 */
export function findHypernetwork(entries: readonly StateDictEntry[], expected: Expected): FoundHypernetwork {
  const byName = new Map<string, StateDictEntry>();
  for (const entry of entries) {
    const name = entry.name.replace(WRAPPERS, '');
    if (byName.has(name)) throw refuse(`Tensor ${name} is there twice, with and without a wrapper's prefix.`);
    byName.set(name, entry);
  }
  const variant = findVariant(expected.args, [...byName.keys()]);
  const matrix = (name: string): readonly [number, number] => {
    const shape = byName.get(name)?.shape;
    if (!shape) throw refuse(`The checkpoint has no tensor ${name}.`);
    const [rows, columns] = shape;
    if (shape.length !== 2 || !isSide(rows) || !isSide(columns)) {
      throw refuse(`Tensor ${name} has the shape [${shape.join(', ')}], which is no matrix.`);
    }
    return [rows, columns];
  };
  const modules = moduleOrder([...byName.keys()], expected).map((name) => ({
    name,
    ...expected.widthsOf(name),
  }));
  const [task, width] = matrix('task_encoder.mlp.0.weight');
  const [layers, depth] = matrix('layer_depth_encoder.0.weight');
  const [, type] = matrix('layer_type_encoder.0.weight');
  if (layers !== expected.layers) {
    throw refuse(
      `The checkpoint is for ${layers} layers (layer_depth_encoder), the base has ${expected.layers}.`,
    );
  }
  const inner = (block: Block) => matrix(`${BLOCK_PREFIX[block]}.1.weight`)[0];
  const hypernetwork: Hypernetwork = {
    width,
    layers,
    rank: expected.rank,
    parts: [task, depth, type],
    inner: { mixer: inner('mixer'), mlp1: inner('mlp1'), mlp2: inner('mlp2'), mlp3: inner('mlp3') },
    headIn: matrix('mlp3.4.weight')[0],
    modules,
    headBias: byName.has(`heads.${modules[0]!.name}.bias`),
    sharedHead: variant.sharedHead,
    scale: variant.scale,
    offset: variant.scale.kind !== 'divided' && byName.has(`AB_offset.A.${modules[0]!.name}`),
  };
  if (variant.needsOffset && !hypernetwork.offset) {
    throw refuse(
      'The checkpoint was trained on a multi-task LoRA (mt_lora_path), and its AB_offset is missing.',
    );
  }
  checkArgs(hypernetwork, expected.args);
  return { hypernetwork, names: checkTensors(hypernetwork, byName) };
}

/** Every tensor of a hypernetwork in the order in which it is stored. */
export function hypernetworkTensors(network: Hypernetwork): HypernetworkTensor[] {
  const { width, layers, parts, inner, headIn, modules, rank, sharedHead, scale, offset } = network;
  const [task, depth, type] = parts;
  const latent = latentOf(network);
  const linear = (name: string, from: number, to: number): HypernetworkTensor[] => [
    { name: `${name}.weight`, shape: [to, from] },
    { name: `${name}.bias`, shape: [to] },
  ];
  const norm = (name: string, side: number): HypernetworkTensor[] => [
    { name: `${name}.weight`, shape: [side] },
    { name: `${name}.bias`, shape: [side] },
  ];
  const block = (name: Block, to: number) => [
    ...(name === 'mixer' ? [] : norm(`${BLOCK_PREFIX[name]}.0`, latent)),
    ...linear(`${BLOCK_PREFIX[name]}.1`, latent, inner[name]),
    ...linear(`${BLOCK_PREFIX[name]}.4`, inner[name], to),
  ];
  const stacks = (name: string) =>
    modules.flatMap((module): HypernetworkTensor[] => [
      { name: `${name}.A.${module.name}`, shape: [layers, rank, module.in] },
      { name: `${name}.B.${module.name}`, shape: [layers, module.out, rank] },
    ]);
  return [
    ...linear('task_encoder.mlp.0', width, task),
    ...norm('task_encoder.mlp.1', task),
    { name: 'layer_depth_encoder.0.weight', shape: [layers, depth] },
    ...norm('layer_depth_encoder.1', depth),
    { name: 'layer_type_encoder.0.weight', shape: [modules.length, type] },
    ...norm('layer_type_encoder.1', type),
    ...block('mixer', latent),
    ...block('mlp1', latent),
    ...block('mlp2', latent),
    ...block('mlp3', headIn),
    ...(sharedHead
      ? [
          ...modules.flatMap(({ name }) =>
            SIDES.map((side) => ({ name: `out_emb.${name}.${side}`, shape: [latent] })),
          ),
          ...norm('out_emb_norm', latent),
        ]
      : []),
    ...modules.flatMap((module) => {
      const [weight, bias] = linear(`heads.${module.name}`, headIn, headRows(network, module));
      return network.headBias ? [weight!, bias!] : [weight!];
    }),
    ...(scale.kind === 'z-score' ? [...stacks('std_recon_target'), ...stacks('mean_recon_target')] : []),
    ...(offset ? stacks('AB_offset') : []),
  ];
}

/** The two matrices of a module. */
export const SIDES = ['A', 'B'] as const;

/** Width of the latent vector, H. */
export function latentOf({ parts }: Hypernetwork): number {
  return parts[0] + parts[1] + parts[2];
}

/** Rows of a module's head. */
export function headRows({ rank, sharedHead }: Hypernetwork, module: HeadModule): number {
  return rank * (sharedHead ? Math.max(module.in, module.out) : module.in + module.out);
}

/** Numbers of all tensors of a hypernetwork together. */
export function hypernetworkParameters(network: Hypernetwork): number {
  return hypernetworkTensors(network).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
}

/** Multiply-adds of one run up to the heads. */
export function trunkMultiplyAdds(network: Hypernetwork): number {
  const { width, parts, inner, headIn, modules, layers, sharedHead } = network;
  const latent = latentOf(network);
  const rows = layers * modules.length;
  const sides = sharedHead ? SIDES.length : 1;
  return (
    width * parts[0] +
    rows * 2 * latent * (inner.mixer + inner.mlp1 + sides * inner.mlp2) +
    rows * sides * inner.mlp3 * (latent + headIn)
  );
}

/** Multiply-adds of all heads in one run. */
export function headMultiplyAdds(network: Hypernetwork): number {
  const { headIn, modules, layers, sharedHead } = network;
  const sides = sharedHead ? SIDES.length : 1;
  return modules.reduce((sum, module) => sum + sides * layers * headIn * headRows(network, module), 0);
}

function isSide(side: number | undefined): side is number {
  return side !== undefined && side >= 1 && side <= MAX_SIDE;
}

function moduleOrder(names: readonly string[], { targets, moduleOrder: given }: Expected): readonly string[] {
  const heads = names.flatMap((name) => /^heads\.([^.]+)\.weight$/.exec(name)?.[1] ?? []);
  if (heads.length === 0) throw refuse('The checkpoint has no head of a module (heads.<module>.weight).');
  const sorted = (list: readonly string[]) => [...list].sort().join(', ');
  if (sorted(heads) !== sorted(targets)) {
    throw refuse(
      `The checkpoint has heads for ${sorted(heads)}, and its adapter_config.json targets ${sorted(targets)}.`,
    );
  }
  if (given && sorted(given) !== sorted(heads)) {
    throw refuse(`The module order names ${sorted(given)}; the checkpoint has heads for ${sorted(heads)}.`);
  }
  return given ?? heads;
}

function checkArgs(network: Hypernetwork, args: TrainingArgs): void {
  const told: readonly (readonly [string, number | undefined, number])[] = [
    [
      'hypernet_latent_size',
      args.hypernet_latent_size && Math.floor(args.hypernet_latent_size / 2),
      network.parts[0],
    ],
    ['head_in_size', args.head_in_size, network.headIn],
  ];
  for (const [name, said, found] of told) {
    if (said !== undefined && said !== found) {
      throw refuse(
        `args.yaml says another ${name} than the tensors have: the files are of different checkpoints.`,
      );
    }
  }
}

/** From published names to those of the file. */
function checkTensors(
  network: Hypernetwork,
  byName: ReadonlyMap<string, StateDictEntry>,
): Map<string, string> {
  const names = new Map<string, string>();
  for (const { name, shape } of hypernetworkTensors(network)) {
    const entry = byName.get(name);
    if (!entry) throw refuse(`The checkpoint has no tensor ${name}.`);
    if (entry.shape.join() !== shape.join()) {
      throw refuse(
        `Tensor ${name} has the shape [${entry.shape.join(', ')}]; [${shape.join(', ')}] is needed here.`,
      );
    }
    names.set(name, entry.name);
  }
  const stranger = [...byName.keys()].find((name) => !names.has(name) && !STATISTICS.test(name));
  if (stranger !== undefined) {
    throw refuse(
      `The checkpoint has a tensor that no supported Text-to-LoRA variant uses: ${JSON.stringify(stranger.slice(0, 100))}.`,
    );
  }
  return names;
}

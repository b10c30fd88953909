/** The shape of a hyper-convolutional decoder, told from the names and shapes of its state dict (spec §2). */
import { READABLE_DTYPES } from '../../../adapter/tensor-bytes.ts';
import { modelErrors } from '../../errors.ts';
import type { StateDictEntry } from '../checkpoint/state-dict.ts';

/** `[N, L, C]`: prompts or tokens, positions or rows, width or columns. */
export type Features = readonly [number, number, number];

/** The length projection in front of the cascade (spec §1.4). */
export type LengthProjection = {
  /** Lt: positions of the encoder's output. */
  readonly tokens: number;
  /** M: positions after it, the L of the first features. */
  readonly positions: number;
};

/** Everything that decides the graph of a decoder, apart from the numbers. */
export type DecoderArchitecture = {
  /** k: sides of every kernel; odd. */
  readonly kernel: number;
  /** At the input of the first layer and after each layer. */
  readonly features: readonly Features[];
  readonly projection: LengthProjection | undefined;
};

/** A weight of the decoder: its name inside the graph, its name in the state dict, its shape there. */
export type DecoderWeight = {
  readonly name: string;
  readonly source: string;
  readonly shape: readonly number[];
};

/** Wrappers that training frameworks put in front of names (spec §2.5). */
const WRAPPERS = /^(?:module\.|_orig_mod\.)+/;
/** Parts of a training checkpoint that generation does not use (spec §2.5). */
const UNUSED = /^(?:condition_module\.|extra_condition\.|criterion_weight$)/;
const LAYER = /^model\.decoder\.module_list\.(\d{1,4})\./;

/** Most cascade layers; the published decoders have five to eight. */
const MAX_LAYERS = 63;
/** Largest kernel side; the published decoders have 9 and 11. */
const MAX_KERNEL = 63;
/** Most elements a single weight may have: 16 GiB of float32, ten times the largest published one. */
const MAX_WEIGHT_ELEMENTS = 2 ** 32;

const refuse = modelErrors.checkpoint;

/** The weights of layer `index`, in the order they are stored: names and shapes of spec §2.5. */
function layerWeights(architecture: DecoderArchitecture, index: number): DecoderWeight[] {
  const k = architecture.kernel;
  const [n, l, c] = architecture.features[index]!;
  const [nextN, nextL, nextC] = architecture.features[index + 1]!;
  const shapes: readonly (readonly [string, readonly number[]])[] = [
    ['linear1.norm.weight', [l, c]],
    ['linear1.norm.bias', [l, c]],
    ['linear1.conv1w.weight', [nextC, c, k, k]],
    ['linear1.conv1h.weight', [nextL, l, k, k]],
    ['linear1.conv2h.weight', [nextL, l, k, k]],
    ['linear1.conv2w.weight', [nextC, c, k, k]],
    ['linear1.bias', [nextL, nextC]],
    ['linear2.weight', [nextN, n, k, k]],
    ['linear2.bias', [nextN]],
  ];
  return shapes.map(([name, shape]) => ({
    name: `layer${index}.${name}`,
    source: `model.decoder.module_list.${index}.${name}`,
    shape,
  }));
}

/** The weights of the length projection (spec §2.5); empty where there is none. */
function projectionWeights({ projection }: DecoderArchitecture): DecoderWeight[] {
  if (!projection) return [];
  const { tokens, positions } = projection;
  return [
    { name: 'down_proj.weight', shape: [positions, tokens] },
    { name: 'down_proj.bias', shape: [positions] },
    { name: 'gate_proj.weight', shape: [positions, positions] },
    { name: 'gate_proj.bias', shape: [positions] },
  ].map((weight) => ({ ...weight, source: weight.name }));
}

/** Number of parameters of layer `index` (spec §4). */
export function layerParameters({ kernel: k, features }: DecoderArchitecture, index: number): number {
  const [n, l, c] = features[index]!;
  const [nextN, nextL, nextC] = features[index + 1]!;
  return 2 * l * c + 2 * k * k * (c * nextC + l * nextL) + nextL * nextC + k * k * n * nextN + nextN;
}

/** Multiply-adds of layer `index` for one condition (spec §4). */
export function layerMultiplyAdds({ kernel: k, features }: DecoderArchitecture, index: number): number {
  const [n, l, c] = features[index]!;
  const [nextN, nextL, nextC] = features[index + 1]!;
  return (
    k *
    k *
    (c * nextC * l * n +
      l * nextL * n * nextC +
      l * nextL * n * c +
      c * nextC * nextL * n +
      n * nextN * nextL * nextC)
  );
}

/** Number of parameters of the length projection, 0 where there is none (spec §4, "+proj"). */
export function projectionParameters({ projection }: DecoderArchitecture): number {
  if (!projection) return 0;
  const { tokens, positions } = projection;
  return tokens * positions + positions + positions * positions + positions;
}

/** Multiply-adds of the length projection for one condition, 0 where there is none (spec §4, "+proj"). */
export function projectionMultiplyAdds({ projection, features }: DecoderArchitecture): number {
  if (!projection) return 0;
  const [n, , c] = features[0]!;
  return n * c * projection.positions * (projection.tokens + projection.positions);
}

/**
 * Tells the architecture from a state dict and accounts for every tensor in it. Returns also the mapping from the published
 * names to those of the file. Errors: `checkpoint-invalid` naming the tensor, for missing, unexpected or repeated names, a
 * chain of layers that does not fit, an even kernel, a weight that is no floating-point tensor.
 */
export function inferArchitecture(entries: readonly StateDictEntry[]): {
  architecture: DecoderArchitecture;
  names: ReadonlyMap<string, string>;
} {
  const byName = new Map<string, StateDictEntry>();
  for (const entry of entries) {
    const name = entry.name.replace(WRAPPERS, '');
    if (UNUSED.test(name)) continue;
    if (byName.has(name)) throw refuse(`Tensor ${name} is there twice, with and without a wrapper's prefix.`);
    byName.set(name, entry);
  }

  const shapeOf = (name: string, rank: number): readonly number[] => {
    const entry = byName.get(name);
    if (!entry) throw refuse(`Tensor ${name} is missing.`);
    if (entry.shape.length !== rank) {
      throw refuse(`Tensor ${name} has ${entry.shape.length} axes, ${rank} expected.`);
    }
    return entry.shape;
  };

  const layers = countLayers(byName.keys());
  const features: Features[] = [];
  let kernel = 0;
  for (let index = 0; index < layers; index++) {
    const prefix = `model.decoder.module_list.${index}.`;
    const [l, c] = shapeOf(`${prefix}linear1.norm.weight`, 2) as [number, number];
    const [nextL, nextC] = shapeOf(`${prefix}linear1.bias`, 2) as [number, number];
    const [nextN, n, k] = shapeOf(`${prefix}linear2.weight`, 4) as [number, number, number, number];
    if (index === 0) {
      if (k % 2 === 0 || k > MAX_KERNEL) {
        throw refuse(`The kernel is ${k} wide; it must be odd and at most ${MAX_KERNEL}.`);
      }
      kernel = k;
      features.push([n, l, c]);
    }
    const before = features[index]!;
    if (before[0] !== n || before[1] !== l || before[2] !== c) {
      throw refuse(
        `The chain breaks at layer ${index}: it takes (${n}, ${l}, ${c}), ` +
          `but gets (${before[0]}, ${before[1]}, ${before[2]}) from the layer before.`,
      );
    }
    features.push([nextN, nextL, nextC]);
  }

  const hasProjection = byName.has('down_proj.weight');
  const [positions, tokens] = hasProjection ? (shapeOf('down_proj.weight', 2) as [number, number]) : [0, 0];
  const architecture: DecoderArchitecture = {
    kernel,
    features,
    projection: hasProjection ? { tokens, positions } : undefined,
  };
  if (hasProjection && positions !== features[0]![1]) {
    throw refuse(
      `The length projection gives ${positions} positions, but the first layer takes ${features[0]![1]}.`,
    );
  }
  return { architecture, names: accountFor(byName, decoderWeights(architecture)) };
}

/** All weights of a decoder in the order they are stored: the projection's, then layer by layer. */
export function decoderWeights(architecture: DecoderArchitecture): DecoderWeight[] {
  const layers = architecture.features.slice(1).map((_, index) => layerWeights(architecture, index));
  return [...projectionWeights(architecture), ...layers.flat()];
}

function countLayers(names: Iterable<string>): number {
  const indices = new Set<number>();
  for (const name of names) {
    const match = LAYER.exec(name);
    if (match) indices.add(Number(match[1]));
  }
  if (indices.size === 0)
    throw refuse('There is no tensor of a decoder layer (model.decoder.module_list.0…).');
  if (indices.size > MAX_LAYERS) throw refuse(`There are more than ${MAX_LAYERS} decoder layers.`);
  for (let index = 0; index < indices.size; index++) {
    if (!indices.has(index)) throw refuse(`Decoder layer ${index} is missing.`);
  }
  return indices.size;
}

function accountFor(
  byName: ReadonlyMap<string, StateDictEntry>,
  weights: readonly DecoderWeight[],
): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const { source, shape } of weights) {
    const entry = byName.get(source);
    if (!entry) throw refuse(`Tensor ${source} is missing.`);
    if (entry.shape.length !== shape.length || entry.shape.some((side, axis) => side !== shape[axis])) {
      throw refuse(`Tensor ${source} is [${entry.shape.join(', ')}], [${shape.join(', ')}] expected.`);
    }
    if (shape.some((side) => side < 1) || shape.reduce((a, b) => a * b) > MAX_WEIGHT_ELEMENTS) {
      throw refuse(`Tensor ${source} has no elements, or more than ${MAX_WEIGHT_ELEMENTS}.`);
    }
    if (!(READABLE_DTYPES as readonly string[]).includes(entry.dtype)) {
      throw refuse(
        `Tensor ${source} holds ${entry.dtype}; weights are ${READABLE_DTYPES.join(', ')}. A quantised checkpoint cannot be imported.`,
      );
    }
    names.set(source, entry.name);
  }
  const unexpected = [...byName.keys()].filter((name) => !names.has(name));
  if (unexpected.length > 0) {
    const shown = unexpected.sort().slice(0, 5).join(', ');
    throw refuse(`${unexpected.length} unexpected tensors: ${shown}${unexpected.length > 5 ? ' …' : ''}.`);
  }
  return names;
}

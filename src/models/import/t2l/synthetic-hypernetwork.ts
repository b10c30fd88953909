/** Random weights for a hypernetwork of any size: the amplitudes of a real adapter, without any of its knowledge. */
import { type IndexedRandom, indexedRandom } from '../../../base/random.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import { uniformNumbers } from '../dnd/synthetic-state-dict.ts';
import { type Hypernetwork, type HypernetworkTensor, hypernetworkTensors } from './hypernetwork.ts';

/** Standard deviation of biases, and of norm weights around 1. */
const SMALL = 0.1;
/** Standard deviations to aim at: A as after Kaiming initialisation, what descriptions change of it, and B. */
const SIGMA = { bias: 1e-2, description: 1e-3 } as const;
/** Root mean square of what SiLU leaves of standard numbers. */
const SILU_GAIN = 0.6;

/**
 * The state dict of a hypernetwork with random weights that depend on the seed and on each tensor's name and shape alone, so
 * that tensors can be streamed in any order; nothing is kept but the chunk at hand. Names come in code-unit order.
 */
export function syntheticHypernetwork(network: Hypernetwork, seed: number): StateDict {
  const tensors = new Map(hypernetworkTensors(network).map((tensor) => [tensor.name, tensor]));
  return {
    entries: [...tensors.values()]
      .map(({ name, shape }) => ({ name, dtype: 'F32', shape }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    async *stream(name, { signal } = {}) {
      for (const chunk of numbersOf(network, tensors.get(name)!, indexedRandom(seed, `t2l/${name}`))) {
        signal?.throwIfAborted();
        yield chunk;
      }
    },
    async close() {},
  };
}

function* numbersOf(
  network: Hypernetwork,
  { name, shape }: HypernetworkTensor,
  random: IndexedRandom,
): Generator<Float32Array> {
  const elements = shape.reduce((product, side) => product * side, 1);
  const [, module] = /^heads\.([^.]+)\./.exec(name) ?? [];
  const isNorm = shape.length === 1 && name.endsWith('.weight');
  if (module !== undefined && name.endsWith('.bias')) {
    // Generation starts from a common A and from a B of zero, as training does.
    const { in: columns } = network.modules.find((one) => one.name === module)!;
    yield* uniformNumbers(random, network.rank * columns, SIGMA.bias);
    yield new Float32Array(elements - network.rank * columns);
  } else if (module !== undefined) {
    yield* uniformNumbers(random, elements, SIGMA.description / (SILU_GAIN * Math.sqrt(network.headIn)));
  } else if (isNorm) {
    for (const chunk of uniformNumbers(random, elements, SMALL)) yield chunk.map((value) => 1 + value);
  } else if (name.startsWith('layer_') && shape.length === 2) {
    yield* uniformNumbers(random, elements, 1);
  } else if (shape.length === 2) {
    yield* uniformNumbers(random, elements, 1 / (SILU_GAIN * Math.sqrt(shape[1]!)));
  } else yield* uniformNumbers(random, elements, SMALL);
}

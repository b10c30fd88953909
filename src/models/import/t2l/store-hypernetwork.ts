/** Copies a hypernetwork's tensors from a state dict into external data. */
import type { ExternalDataFile, ExternalTensor } from '../../../onnx/external-data.ts';
import type { StateDict } from '../checkpoint/state-dict.ts';
import { asStoredBytes, checkedNumbers, type Precision, STORED_AS } from '../stored-numbers.ts';
import { type Hypernetwork, hypernetworkTensors } from './hypernetwork.ts';
import type { PlacedTensors } from './hypernetwork-graph.ts';

/**
 * Copies every tensor once. With `precision` `f16` the matrices of linear layers are stored as such; embeddings, norms, biases
 * and statistics stay float32. `names` maps published names to those of the state dict. Memory stays bounded by the state
 * dict's chunks. Errors: `checkpoint-invalid` for a number that is not finite, or beyond the range of f16.
 */
export async function storeHypernetwork(
  network: Hypernetwork,
  stateDict: StateDict,
  names: ReadonlyMap<string, string>,
  file: ExternalDataFile,
  options: {
    readonly precision?: Precision;
    readonly signal?: AbortSignal;
    /** Called with the bytes of the numbers, as float32, that have been dealt with since the last call. */
    readonly onBytes?: (bytes: number) => void;
  } = {},
): Promise<PlacedTensors> {
  const { signal, precision = 'f32', onBytes } = options;
  const placed = new Map<string, ExternalTensor>();
  for (const { name, shape } of hypernetworkTensors(network)) {
    signal?.throwIfAborted();
    const numbers = checkedNumbers(
      stateDict.stream(names.get(name)!, signal ? { signal } : {}),
      name,
      onBytes,
    );
    const isMatrix = shape.length === 2 && !name.startsWith('layer_');
    const as = isMatrix ? precision : 'f32';
    placed.set(name, await file.append(STORED_AS[as], shape, asStoredBytes(numbers, name, as)));
  }
  return placed;
}

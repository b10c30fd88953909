import { MAX_NAME_LENGTH, SAFETENSORS_DTYPE_BITS } from '../../../../adapter/safetensors-header.ts';
import { modelErrors } from '../../../errors.ts';
import { isInert } from './inert.ts';
import { isTorchTensor, storageBytes, type TorchStorage, type TorchTensor } from './objects.ts';
import { shown } from './shown.ts';

/** Deepest container that is looked into: training code puts a state dict into two or three, and optimizers into four. */
const MAX_DEPTH = 8;
/** Most entries of all containers together, each counted as often as it is met: 8,192 tensors and lists of settings. */
const MAX_ENTRIES = 262_144;
/**
 * Most bytes of all tensors together, as a multiple of their storages'. Tensors may share a storage, as tied weights do, but
 * a small file of expanded views must not fill the disk.
 */
const MAX_EXPANSION = 4;

const refuse = modelErrors.checkpoint;

/** A tensor of a checkpoint and the path of the dict that holds it, empty for the outermost one. */
export type HeldTensor = { readonly tensor: TorchTensor; readonly dict: string };

/** What `torch.save` was given, laid out flat. */
export type Collected = {
  /** Every tensor by its keys from the outside in, joined with dots: `state_dict.model.weight`. */
  readonly tensors: ReadonlyMap<string, HeldTensor>;
  /** What is no tensor, by the same names: numbers, text, and objects by their class's name. */
  readonly others: ReadonlyMap<string, unknown>;
};

/**
 * All named tensors in what `torch.save` was given, however deep in dicts and lists. Every one lies inside its storage.
 * Errors: `checkpoint-invalid` naming the entry: no dict, a whole object, a name that is there twice, tensors that take far
 * more than the file has.
 */
export function collectTensors(value: unknown): Collected {
  if (isInert(value)) {
    throw refuse(`The checkpoint holds an object of ${shown(value.name)} and no dict of tensors.`);
  }
  if (!(value instanceof Map)) throw refuse('The checkpoint holds no dict of tensors.');
  const tensors = new Map<string, HeldTensor>();
  const others = new Map<string, unknown>();
  let entries = 0;
  visit(value, '', '', 0);
  checkSizes(tensors);
  return { tensors, others };

  function visit(
    container: ReadonlyMap<unknown, unknown> | readonly unknown[],
    at: string,
    dict: string,
    depth: number,
  ): void {
    for (const [key, item] of container.entries()) {
      if (++entries > MAX_ENTRIES) throw refuse(`The checkpoint has more than ${MAX_ENTRIES} entries.`);
      const name = nameOf(key);
      const path = at === '' ? name : `${at}.${name}`;
      if (isTorchTensor(item)) {
        if (name === '' || path.length > MAX_NAME_LENGTH) {
          throw refuse(`A tensor's name is no text of 1 to ${MAX_NAME_LENGTH} characters: ${shown(path)}.`);
        }
        if (tensors.has(path)) throw refuse(`Tensor ${shown(path)} is there twice.`);
        tensors.set(path, { tensor: item, dict });
      } else if ((item instanceof Map || Array.isArray(item)) && depth < MAX_DEPTH) {
        visit(item, path, item instanceof Map ? path : dict, depth + 1);
      } else others.set(path.slice(0, MAX_NAME_LENGTH), item);
    }
  }
}

/** The key as a part of a name; empty where it is neither text nor a number. */
function nameOf(key: unknown): string {
  return ['string', 'number', 'bigint', 'boolean'].includes(typeof key) ? String(key) : '';
}

function checkSizes(tensors: Collected['tensors']): void {
  let bytes = 0;
  const storages = new Set<TorchStorage>();
  for (const [name, { tensor }] of tensors) {
    const { storage } = tensor;
    bytes += (elementsInside(name, tensor) * SAFETENSORS_DTYPE_BITS[storage.dtype]) / 8;
    storages.add(storage);
  }
  const stored = [...storages.values()].reduce((sum, storage) => sum + storageBytes(storage), 0);
  if (bytes > MAX_EXPANSION * stored) {
    throw refuse(
      `The tensors take ${bytes} bytes, more than ${MAX_EXPANSION} times the ${stored} that the file has for them.`,
    );
  }
}

/** The tensor's number of elements, once it is sure that all of them are in its storage. */
function elementsInside(name: string, { storage, offset, shape, strides }: TorchTensor): number {
  const count = shape.reduce((product, side) => product * side, 1);
  const last = shape.reduce((sum, side, axis) => sum + (side - 1) * strides[axis]!, offset);
  if (count > 0 && !(Number.isSafeInteger(count) && last < storage.elements)) {
    throw refuse(
      `Tensor ${shown(name)} of shape [${shape.join(', ')}] reaches beyond its storage of ${storage.elements} elements.`,
    );
  }
  return count;
}

import { MAX_NAME_LENGTH, SAFETENSORS_DTYPE_BITS } from '../../../../adapter/safetensors-header.ts';
import { modelErrors } from '../../../errors.ts';
import { isTorchTensor, storageBytes, type TorchStorage, type TorchTensor } from './objects.ts';
import { shown } from './shown.ts';

/** Under which keys training code keeps the state dict when it saves more than that. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model', 'module'];
/**
 * Most bytes of all tensors together, as a multiple of their storages'. Tensors may share a storage, as tied weights do, but
 * a small file of expanded views must not fill the disk.
 */
const MAX_EXPANSION = 4;

const refuse = modelErrors.checkpoint;

/**
 * The named tensors in what `torch.save` was given: a dict of tensors alone, or else one whose single entry `state_dict`,
 * `model_state_dict`, `model` or `module` is a dict of tensors alone; what lies beside that (optimizer, epoch …) is left out.
 * Every tensor returned lies inside its storage. Errors: `checkpoint-invalid` naming the entry, also when two of these keys
 * hold a state dict, since nothing tells which one is meant.
 */
export function findStateDict(value: unknown): ReadonlyMap<string, TorchTensor> {
  if (!(value instanceof Map)) throw refuse('The checkpoint holds no dict of tensors.');
  const wrapped = WRAPPERS.filter((key) => value.get(key) instanceof Map);
  if (wrapped.length > 1) {
    throw refuse(`The checkpoint has ${wrapped.join(' and ')}, and nothing tells which is the state dict.`);
  }
  const tensors = tensorsOf(wrapped.length === 1 ? value.get(wrapped[0]) : value);
  let bytes = 0;
  const storages = new Set<TorchStorage>();
  for (const [name, tensor] of tensors) {
    const { storage } = tensor;
    bytes += elementsInside(name, tensor) * (SAFETENSORS_DTYPE_BITS[storage.dtype] / 8);
    storages.add(storage);
  }
  const stored = storages.values().reduce((sum, storage) => sum + storageBytes(storage), 0);
  if (bytes > MAX_EXPANSION * stored) {
    throw refuse(
      `The tensors take ${bytes} bytes, more than ${MAX_EXPANSION} times the ${stored} that the file has for them.`,
    );
  }
  return tensors;
}

function tensorsOf(dict: ReadonlyMap<unknown, unknown>): ReadonlyMap<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  for (const [name, tensor] of dict) {
    if (typeof name !== 'string' || name.length === 0 || name.length > MAX_NAME_LENGTH) {
      throw refuse(`A tensor's name is no text of 1 to ${MAX_NAME_LENGTH} characters.`);
    }
    if (!isTorchTensor(tensor)) {
      throw refuse(
        `Entry ${shown(name)} is no tensor. A state dict beside other things must be under ${WRAPPERS.join(', ')}.`,
      );
    }
    tensors.set(name, tensor);
  }
  return tensors;
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

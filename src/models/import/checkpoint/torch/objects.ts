/** What `torch.save` puts into a pickle: tensors as views of storages whose bytes lie elsewhere in the file. */
import {
  MAX_RANK,
  SAFETENSORS_DTYPE_BITS,
  type SafetensorsDtype,
} from '../../../../adapter/safetensors-header.ts';
import { modelErrors } from '../../../errors.ts';
import { type Inert, isInert } from './inert.ts';
import { type PickleRules, unpickle } from './unpickle.ts';

/** A run of numbers in the file, which any number of tensors may view. */
export type TorchStorage = {
  readonly kind: 'storage';
  readonly key: string;
  readonly dtype: SafetensorsDtype;
  readonly elements: number;
};

/** A view of a storage: the element at index (i, j, …) is at `offset + i·strides[0] + j·strides[1] + …`. */
export type TorchTensor = {
  readonly kind: 'tensor';
  readonly storage: TorchStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
};

/** A `torch.save` file, whichever of its two forms it has. */
export type TorchFile = {
  /** The saved object, its tensors as {@link TorchTensor}. */
  readonly value: unknown;
  /** Where in the file each storage begins, by its key. All its bytes are there, little-endian. */
  readonly storageStarts: ReadonlyMap<string, number>;
};

/** A number format, as the value of a setting or behind a storage class's name. */
type TorchDtype = { readonly kind: 'dtype'; readonly dtype: SafetensorsDtype };

/** Most tensors and most storages of a file; the published decoders have about 80, optimizers twice as many again. */
export const MAX_TENSORS = 8192;

/** Storage classes and dtypes of PyTorch that have a name in safetensors. */
const DTYPES: readonly (readonly [storageClass: string, name: string, dtype: SafetensorsDtype])[] = [
  ['DoubleStorage', 'float64', 'F64'],
  ['FloatStorage', 'float32', 'F32'],
  ['HalfStorage', 'float16', 'F16'],
  ['BFloat16Storage', 'bfloat16', 'BF16'],
  ['LongStorage', 'int64', 'I64'],
  ['IntStorage', 'int32', 'I32'],
  ['ShortStorage', 'int16', 'I16'],
  ['CharStorage', 'int8', 'I8'],
  ['ByteStorage', 'uint8', 'U8'],
  ['BoolStorage', 'bool', 'BOOL'],
  ['ComplexFloatStorage', 'complex64', 'C64'],
  ['QInt8Storage', 'qint8', 'I8'],
  ['QUInt8Storage', 'quint8', 'U8'],
  ['QInt32Storage', 'qint32', 'I32'],
  // Bytes that only the tensor gives a format: those of eight-bit floats and unsigned integers.
  ['storage.UntypedStorage', 'UntypedStorage', 'U8'],
];

const refuse = modelErrors.checkpoint;

/**
 * Reads the pickle of a `torch.save` file. The value holds {@link TorchTensor}s in arrays and Maps. Allowed are the classes
 * of storages, dtypes, `torch.Size`, `OrderedDict` and the functions that rebuild a tensor from a storage.
 * Whether a tensor stays inside its storage is not checked here, where it has no name yet.
 * Errors: `checkpoint-invalid` for any other global (named), a tensor of no usable form, a storage named twice with
 * different contents, and whatever {@link unpickle} refuses.
 */
export function unpickleTorchObject(
  bytes: Uint8Array,
  start = 0,
): {
  readonly value: unknown;
  readonly end: number;
  readonly storages: ReadonlyMap<string, TorchStorage>;
} {
  const storages = new Map<string, TorchStorage>();
  let tensors = 0;
  const rebuild = (args: readonly unknown[]): TorchTensor => {
    if (++tensors > MAX_TENSORS) throw refuse(`The checkpoint has more than ${MAX_TENSORS} tensors.`);
    return rebuildTensor(args);
  };
  const rules: PickleRules = {
    globals: new Map<string, unknown>([
      ...DTYPES.flatMap(([storageClass, name, dtype]): [string, TorchDtype][] => [
        [`torch.${storageClass}`, { kind: 'dtype', dtype }],
        [`torch.${name}`, { kind: 'dtype', dtype }],
      ]),
      ['torch._utils._rebuild_tensor', rebuild],
      ['torch._utils._rebuild_tensor_v2', rebuild],
      ['torch._utils._rebuild_parameter', rebuildParameter],
      ['torch._utils._rebuild_parameter_with_state', rebuildParameter],
      ['torch._tensor._rebuild_from_type_v2', rebuildWithAttributes],
      ['torch.Size', rebuildSize],
      ['collections.OrderedDict', rebuildOrderedDict],
    ]),
    persistentLoad(id) {
      const storage = storageOf(id);
      const known = storages.get(storage.key);
      if (!known) {
        if (storages.size >= MAX_TENSORS)
          throw refuse(`The checkpoint has more than ${MAX_TENSORS} storages.`);
        storages.set(storage.key, storage);
        return storage;
      }
      if (known.dtype !== storage.dtype || known.elements !== storage.elements) {
        throw refuse(`Storage ${storage.key} is described in two ways.`);
      }
      return known;
    },
  };
  return { ...unpickle(bytes, rules, start), storages };
}

/** The bytes a storage takes in the file. */
export function storageBytes({ dtype, elements }: TorchStorage): number {
  return elements * (SAFETENSORS_DTYPE_BITS[dtype] / 8);
}

/** True for a {@link TorchTensor} among the values of a pickle. */
export function isTorchTensor(value: unknown): value is TorchTensor {
  return isKind(value, 'tensor');
}

/** Form of a storage's key: zip files number them, older ones take an address. Nothing in it can be a path. */
const STORAGE_KEY = /^\d{1,20}$/;

/** The storage of `('storage', class, key, location, elements)`; the older format adds the view, always None by now. */
function storageOf(id: unknown): TorchStorage {
  if (!Array.isArray(id) || id[0] !== 'storage' || id.length < 5 || id.length > 6) {
    throw refuse('The pickle refers to an object outside of it that is no storage.');
  }
  const [, storageClass, key, , elements, view] = id as unknown[];
  if (typeof key !== 'string' || !STORAGE_KEY.test(key))
    throw refuse('A storage of the pickle has no usable key.');
  if (!isKind(storageClass, 'dtype')) throw refuse(`Storage ${key} has no class of a storage.`);
  if (!isCount(elements)) throw refuse(`Storage ${key} has no number of elements.`);
  if (view !== undefined && view !== null) {
    throw refuse(`Storage ${key} is a view of another storage, as PyTorch before 0.4 wrote them.`);
  }
  return { kind: 'storage', key, dtype: storageClass.dtype, elements };
}

/** `(storage, offset, size, stride, requires_grad, backward_hooks, metadata)`, of which the oldest form has four. */
function rebuildTensor(args: readonly unknown[]): TorchTensor {
  const [storage, offset, size, stride, , , metadata] = args;
  if (args.length < 4 || args.length > 7 || !isKind(storage, 'storage')) {
    throw refuse('The pickle rebuilds a tensor from something else than a storage.');
  }
  if (!isCount(offset) || !isSides(size) || !isSides(stride) || size.length !== stride.length) {
    throw refuse(
      `A tensor on storage ${storage.key} has no usable offset, size and strides of at most ${MAX_RANK} axes.`,
    );
  }
  if (metadata instanceof Map && metadata.size > 0) {
    throw refuse(`A tensor on storage ${storage.key} is to be negated or conjugated when it is read.`);
  }
  // Copies, since the pickle may go on to change the lists it passed.
  return { kind: 'tensor', storage, offset, shape: [...size], strides: [...stride] };
}

/** `(data, requires_grad, backward_hooks)`, and attributes behind them: the tensor itself. */
function rebuildParameter([data]: readonly unknown[]): TorchTensor | Inert {
  if (isInert(data)) return data;
  if (!isTorchTensor(data)) throw refuse('The pickle makes a parameter of something that is no tensor.');
  return data;
}

/** `(function, type, arguments, attributes)` of a tensor with attributes: what the function makes of the arguments. */
function rebuildWithAttributes([rebuild, , args]: readonly unknown[]): unknown {
  if (isInert(rebuild)) return rebuild;
  if (typeof rebuild !== 'function' || !Array.isArray(args)) {
    throw refuse('The pickle rebuilds a tensor in a way that torch.save does not.');
  }
  return rebuild(args);
}

/** `torch.Size` holds one tuple of numbers and stands for it. */
function rebuildSize([sides]: readonly unknown[]): readonly number[] {
  if (!isSides(sides)) throw refuse('The pickle holds a torch.Size of something else than numbers.');
  return sides;
}

/** An `OrderedDict` starts empty and gets its items afterwards. */
function rebuildOrderedDict(args: readonly unknown[]): Map<unknown, unknown> {
  if (args.length > 0) throw refuse('The pickle fills an OrderedDict in a way that torch.save does not.');
  return new Map();
}

type TorchValue = TorchStorage | TorchTensor | TorchDtype;

function isKind<K extends TorchValue['kind']>(
  value: unknown,
  kind: K,
): value is Extract<TorchValue, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}

/** A number of elements, or a distance of them: neither negative nor beyond exact integers. */
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isSides(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= MAX_RANK && value.every(isCount);
}

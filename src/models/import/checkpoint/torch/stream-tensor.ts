import type { FileHandle } from 'node:fs/promises';
import { DEFAULT_CHUNK_BYTES } from '../../../../adapter/safetensors.ts';
import { SAFETENSORS_DTYPE_BITS } from '../../../../adapter/safetensors-header.ts';
import { decodeTensor, READABLE_DTYPES } from '../../../../adapter/tensor-bytes.ts';
import { modelErrors } from '../../../errors.ts';
import type { TorchTensor } from './objects.ts';
import { readAt } from './read-at.ts';
import { shown } from './shown.ts';

/**
 * Most bytes in memory of a tensor whose order in the file is not its own, such as a transposed one: enough for a whole
 * length projection of the largest published decoder (107 MB).
 */
const MAX_WINDOW_BYTES = 128 << 20;
/** Most readings of a whole storage that one tensor may cost; one that fits a window counts as large as that. */
const MAX_PASSES = 4;
/** What a read costs at least, however short: about the bytes that could be read in the time of a call. */
const MIN_READ_BYTES = 1 << 15;

/** An axis of a view: `size` elements, `stride` elements apart. */
type Axis = { readonly size: number; readonly stride: number };
/** How a view is read: for each index of the outer axes, `block` indices of the axis after them at a time. */
type Plan = {
  readonly outer: readonly Axis[];
  readonly axis: Axis;
  readonly block: number;
  readonly inner: readonly Axis[];
  /** Bytes to be read in all, each read counted as {@link MIN_READ_BYTES} at least. */
  readonly costBytes: number;
};

/**
 * The numbers of a tensor in row-major order as float32, read from the storage that begins at `storageStart` of the file, in
 * chunks of about a MiB. Tensors in their file's order are read straight through; other views through windows of at most
 * {@link MAX_WINDOW_BYTES}. Errors: `checkpoint-invalid` naming the tensor, when it holds no floating-point numbers of at
 * most 64 bits, or is a view that would take more than {@link MAX_PASSES} passes over its storage.
 */
export async function* streamTensor(
  file: FileHandle,
  storageStart: number,
  name: string,
  tensor: TorchTensor,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<Float32Array, void, void> {
  const { dtype, elements } = tensor.storage;
  if (!(READABLE_DTYPES as readonly string[]).includes(dtype)) {
    throw modelErrors.checkpoint(
      `Tensor ${shown(name)} holds ${dtype}; ${READABLE_DTYPES.join(', ')} can be read.`,
    );
  }
  if (tensor.shape.includes(0)) return;
  const width = SAFETENSORS_DTYPE_BITS[dtype] / 8;
  const plan = planWindows(mergeAxes(tensor), width);
  if (plan.costBytes > MAX_PASSES * Math.max(elements * width, MAX_WINDOW_BYTES)) {
    throw modelErrors.checkpoint(
      `Tensor ${shown(name)} is a view too far from the order of its storage to be read in bounded memory and time; ` +
        'save it with .contiguous().',
    );
  }
  for (const { offset, axes } of windowsOf(plan, tensor.offset)) {
    const bytes = await readAt(file, storageStart + offset * width, spanOf(axes) * width, options);
    for (const chunk of inOrder(bytes, width, axes)) yield decodeTensor(name, chunk, dtype);
  }
}

/** The axes of a tensor without those of one element; neighbours that continue each other in the storage are one. */
function mergeAxes({ shape, strides }: TorchTensor): Axis[] {
  const axes: Axis[] = [];
  shape.forEach((size, index) => {
    const stride = strides[index]!;
    const outer = axes.at(-1);
    if (size === 1) return;
    if (outer?.stride === size * stride) axes[axes.length - 1] = { size: outer.size * size, stride };
    else axes.push({ size, stride });
  });
  return axes.length > 0 ? axes : [{ size: 1, stride: 1 }];
}

/** Elements of the storage from the first to the last one that the axes reach. */
function spanOf(axes: readonly Axis[]): number {
  return axes.reduce((span, { size, stride }) => span + (size - 1) * stride, 1);
}

function planWindows(axes: readonly Axis[], width: number): Plan {
  const chunk = DEFAULT_CHUNK_BYTES / width;
  const most = MAX_WINDOW_BYTES / width;
  const split = axes.findIndex((_, index) => spanOf(axes.slice(index + 1)) <= most);
  const axis = axes[split]!;
  const inner = axes.slice(split + 1);
  const innerSpan = spanOf(inner);
  // Indices that lie side by side can be read in small pieces; interleaved ones need every element between them each time.
  const target = axis.stride >= innerSpan ? Math.max(chunk, innerSpan) : most;
  const block =
    axis.stride === 0 ? axis.size : Math.min(axis.size, 1 + Math.floor((target - innerSpan) / axis.stride));
  const outer = axes.slice(0, split);
  const reads = outer.reduce((product, { size }) => product * size, Math.ceil(axis.size / block));
  const readBytes = spanOf([{ size: block, stride: axis.stride }, ...inner]) * width;
  return { outer, axis, block, inner, costBytes: reads * Math.max(readBytes, MIN_READ_BYTES) };
}

/** The places, counted in elements, and the axes of all windows, in row-major order. */
function* windowsOf(
  { outer, axis, block, inner }: Plan,
  offset: number,
): Generator<{ readonly offset: number; readonly axes: readonly Axis[] }, void, void> {
  for (const start of offsetsOf(outer, offset)) {
    for (let first = 0; first < axis.size; first += block) {
      const size = Math.min(block, axis.size - first);
      yield { offset: start + first * axis.stride, axes: [{ size, stride: axis.stride }, ...inner] };
    }
  }
}

function* offsetsOf([axis, ...inner]: readonly Axis[], offset: number): Generator<number, void, void> {
  if (!axis) {
    yield offset;
    return;
  }
  for (let index = 0; index < axis.size; index++) yield* offsetsOf(inner, offset + index * axis.stride);
}

/** The elements of a window in the order of its axes, in chunks. */
function* inOrder(
  bytes: Uint8Array<ArrayBuffer>,
  width: number,
  axes: readonly Axis[],
): Generator<Uint8Array, void, void> {
  if (axes.length === 1 && axes[0]!.stride === 1) {
    yield bytes;
    return;
  }
  const Bits = width === 2 ? Uint16Array : width === 4 ? Uint32Array : BigUint64Array;
  const elements = new Bits(bytes.buffer);
  const indices = axes.map(() => 0);
  let missing = axes.reduce((product, { size }) => product * size, 1);
  let at = 0;
  while (missing > 0) {
    const chunk = new Bits(Math.min(missing, DEFAULT_CHUNK_BYTES / width));
    for (let i = 0; i < chunk.length; i++) {
      chunk[i] = elements[at]!;
      for (let axis = axes.length - 1; axis >= 0; axis--) {
        const { size, stride } = axes[axis]!;
        at += stride;
        if (++indices[axis]! < size) break;
        at -= size * stride;
        indices[axis] = 0;
      }
    }
    missing -= chunk.length;
    yield new Uint8Array(chunk.buffer);
  }
}

import { type FileHandle, open } from 'node:fs/promises';
import type { StateDict } from '../state-dict.ts';
import { collectTensors } from './collect-tensors.ts';
import type { TorchFile } from './objects.ts';
import { streamTensor } from './stream-tensor.ts';

/**
 * Opens all tensors that `torch.save` wrote, in the form that `read` knows. The pickle is read at once, and without
 * running anything in it; tensors when they are asked for. Errors: `checkpoint-invalid`; the system's own errors when the
 * file cannot be opened.
 */
export async function openTorch(
  path: string,
  read: (file: FileHandle) => Promise<TorchFile>,
): Promise<StateDict> {
  const file = await open(path, 'r');
  try {
    const { value, storageStarts } = await read(file);
    const { tensors, others } = collectTensors(value);
    let closing: Promise<void> | undefined;
    return {
      entries: [...tensors].map(([name, { tensor, dict }]) => {
        return { name, dict, dtype: tensor.storage.dtype, shape: tensor.shape };
      }),
      others: [...others.keys()],
      stream(name, options) {
        const { tensor } = tensors.get(name)!;
        return streamTensor(file, storageStarts.get(tensor.storage.key)!, name, tensor, options);
      },
      close() {
        closing ??= file.close();
        return closing;
      },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

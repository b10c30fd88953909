/**
 * The form PyTorch wrote before 1.6, and still does on request: pickles of a magic number, the protocol's version, facts of
 * the machine, the object, and the storages' keys in order; then each storage, its number of elements before its bytes.
 */
import type { FileHandle } from 'node:fs/promises';
import { modelErrors } from '../../../errors.ts';
import { storageBytes, type TorchFile, unpickleTorchObject } from './objects.ts';
import { readAt } from './read-at.ts';
import { MAX_PICKLE_BYTES } from './unpickle.ts';

const MAGIC_NUMBER = 0x1950a86a20f9469cfc6cn;
const PROTOCOL_VERSION = 1001;
/** Bytes of the number of elements before each storage. */
const COUNT_BYTES = 8;

const refuse = modelErrors.checkpoint;

/**
 * Reads the pickles of a checkpoint and finds the storages behind them, which stay in the file. Errors: `checkpoint-invalid`
 * for a pickle that PyTorch did not write, big-endian storages, a storage that is missing or cut off (named).
 */
export async function readTorchLegacy(file: FileHandle): Promise<TorchFile> {
  const { size } = await file.stat();
  // The pickles tell their ends only when they are run.
  const bytes = await readAt(file, 0, Math.min(size, MAX_PICKLE_BYTES));
  let end = 0;
  const next = () => {
    const result = unpickleTorchObject(bytes, end);
    end = result.end;
    return result;
  };
  if (next().value !== MAGIC_NUMBER) throw refuse('The file is a pickle, but torch.save did not make it.');
  if (next().value !== PROTOCOL_VERSION)
    throw refuse(`The checkpoint is not of protocol ${PROTOCOL_VERSION}.`);
  const machine = next().value;
  if (!(machine instanceof Map) || machine.get('little_endian') !== true) {
    throw refuse('The storages are big-endian; only little-endian ones can be read.');
  }
  const { value, storages } = next();
  const keys = next().value;
  if (!Array.isArray(keys)) throw refuse('The checkpoint has no list of its storages.');
  const storageStarts = new Map<string, number>();
  for (const key of keys as readonly unknown[]) {
    const storage = typeof key === 'string' && !storageStarts.has(key) ? storages.get(key) : undefined;
    if (!storage) throw refuse('The list of storages names one twice, or one that no tensor has.');
    const counted = end + COUNT_BYTES > size ? undefined : await readAt(file, end, COUNT_BYTES);
    const count = counted && new DataView(counted.buffer).getBigInt64(0, true);
    end += COUNT_BYTES + storageBytes(storage);
    if (count !== BigInt(storage.elements) || end > size) {
      throw refuse(`Storage ${storage.key} of ${storage.elements} elements is damaged or cut off.`);
    }
    storageStarts.set(storage.key, end - storageBytes(storage));
  }
  const missing = [...storages.keys()].find((key) => !storageStarts.has(key));
  if (missing !== undefined) throw refuse(`Storage ${missing} is not in the file.`);
  return { value, storageStarts };
}

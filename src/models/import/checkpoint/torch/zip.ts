/** The zip form of a PyTorch checkpoint (since 1.6): `top/data.pkl`, `top/data/KEY` a storage each, `top/byteorder`. */
import type { FileHandle } from 'node:fs/promises';
import { fromRandomAccessReaderPromise, RandomAccessReader } from 'yauzl';
import { MAX_NAME_LENGTH } from '../../../../adapter/safetensors-header.ts';
import { LoradropError } from '../../../../base/errors.ts';
import { modelErrors } from '../../../errors.ts';
import { MAX_TENSORS, storageBytes, type TorchFile, unpickleTorchObject } from './objects.ts';
import { readAt } from './read-at.ts';
import { shown } from './shown.ts';
import { MAX_PICKLE_BYTES } from './unpickle.ts';

/** Most entries of the archive: a storage for each tensor a file may have, and the handful that PyTorch puts beside them. */
const MAX_ENTRIES = MAX_TENSORS + 16;
/** Largest `byteorder` entry; it says `little` or `big`. */
const MAX_BYTE_ORDER_BYTES = 16;
const STORED = 0;

/** Where an entry's bytes lie in the file. PyTorch never compresses, so these are its content. */
type Place = { readonly start: number; readonly bytes: number };

/** What the zip directory says about an entry, without its comment and the other bytes that a file may fill. */
type ListedEntry = Place & {
  readonly name: string;
  readonly headerStart: number;
  readonly isEncrypted: boolean;
  readonly isCompressed: boolean;
};

const refuse = modelErrors.checkpoint;

/**
 * Reads the zip directory and the pickle of a checkpoint; storages stay in the file. Checksums are not compared, as PyTorch
 * itself does not: files may be saved without them. Errors: `checkpoint-invalid` naming the entry, for compressed, encrypted,
 * repeated, overlapping or escaping entries, for damaged or cut off archives, for TorchScript, for big-endian storages.
 */
export async function readTorchZip(file: FileHandle): Promise<TorchFile> {
  const { top, places } = await readDirectory(file);
  const content = async (name: string, maxBytes: number) => {
    const place = places.get(`${top}/${name}`);
    if (place && place.bytes > maxBytes)
      throw refuse(`${name} takes ${place.bytes} bytes; ${maxBytes} can be read.`);
    return place && readAt(file, place.start, place.bytes);
  };
  const byteOrder = await content('byteorder', MAX_BYTE_ORDER_BYTES);
  if (byteOrder && new TextDecoder().decode(byteOrder) !== 'little') {
    throw refuse('The storages are big-endian (byteorder); only little-endian ones can be read.');
  }
  const pickle = await content('data.pkl', MAX_PICKLE_BYTES);
  if (!pickle) throw refuse('The archive has no data.pkl: torch.save did not make it.');
  const { value, storages } = unpickleTorchObject(pickle);
  const storageStarts = new Map<string, number>();
  for (const storage of storages.values()) {
    const place = places.get(`${top}/data/${storage.key}`);
    const wanted = storageBytes(storage);
    if (place?.bytes !== wanted) {
      throw refuse(
        `Storage data/${storage.key} has ${place?.bytes ?? 'no'} bytes, the pickle says ${wanted}.`,
      );
    }
    storageStarts.set(storage.key, place.start);
  }
  return { value, storageStarts };
}

/** The archive's one top folder, of any name, and the places of all entries by their full names. */
async function readDirectory(file: FileHandle): Promise<{ top: string; places: ReadonlyMap<string, Place> }> {
  const entries: ListedEntry[] = [];
  try {
    const { size } = await file.stat();
    const zip = await fromRandomAccessReaderPromise(new BorrowedFile(file), size, { strictFileNames: true });
    if (zip.entryCount > MAX_ENTRIES) {
      throw refuse(`The archive claims ${zip.entryCount} entries; ${MAX_ENTRIES} can be read.`);
    }
    for await (const entry of zip.eachEntry()) {
      if (entry.fileNameLength > MAX_NAME_LENGTH) {
        throw refuse(`Entry ${shown(entry.fileName)} has a name of more than ${MAX_NAME_LENGTH} bytes.`);
      }
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      entries.push({
        name: entry.fileName,
        headerStart: entry.relativeOffsetOfLocalHeader,
        start: fileDataStart,
        bytes: entry.compressedSize,
        isEncrypted: entry.isEncrypted(),
        isCompressed: entry.compressionMethod !== STORED,
      });
    }
  } catch (cause) {
    if (cause instanceof LoradropError) throw cause;
    const { size } = await file.stat();
    throw refuse(
      `The zip archive of ${size} bytes is damaged, cut off or unsafe: ${shown((cause as Error).message.replace(/\.$/, ''))}.`,
      { cause },
    );
  }
  const names = entries.map(({ name }) => name);
  const top = topFolder(names);
  return { top, places: checkPlaces(entries) };
}

/** The pickle that `torch.save` puts into the top folder. */
const PICKLE = /^[^/]+\/data\.pkl$/;
/** Most entries that a message lists. */
const MAX_LISTED = 4;

/** What an archive that is no checkpoint holds. */
function contentOf(names: readonly string[]): string {
  const weights = names.filter((name) => /\.(?:safetensors|pth|pt|ckpt|bin)$/.test(name));
  if (weights.length > 0) {
    return `It holds ${weights.slice(0, MAX_LISTED).map(shown).join(', ')}; unpack it first.`;
  }
  if (names.every((name) => name.endsWith('.npy'))) {
    return 'It holds arrays of NumPy; a state dict of PyTorch is needed.';
  }
  return `It holds ${names.slice(0, MAX_LISTED).map(shown).join(', ')}${names.length > MAX_LISTED ? ' …' : ''}.`;
}

/** The folder everything is in. The zip reader has refused absolute paths, backslashes and `..` before. */
function topFolder(names: readonly string[]): string {
  if (!names.some((name) => PICKLE.test(name))) {
    throw refuse(`The archive has no data.pkl: torch.save did not make it. ${contentOf(names)}`);
  }
  const top = names[0]?.split('/')[0] ?? '';
  const astray = names.find((name) => !name.startsWith(`${top}/`));
  if (astray !== undefined) throw refuse(`Entry ${shown(astray)} lies outside of the archive's top folder.`);
  if (names.some((name) => name === `${top}/constants.pkl` || name.startsWith(`${top}/code/`))) {
    throw refuse(
      'The archive is a TorchScript program (constants.pkl, code/), not a checkpoint. ' +
        'Save its weights instead: torch.save(model.state_dict(), …).',
    );
  }
  return top;
}

function checkPlaces(entries: readonly ListedEntry[]): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  let end = 0;
  for (const entry of entries.toSorted((a, b) => a.headerStart - b.headerStart)) {
    const name = shown(entry.name);
    if (entry.isEncrypted) throw refuse(`Entry ${name} is encrypted.`);
    if (entry.isCompressed)
      throw refuse(`Entry ${name} is compressed; torch.save stores every entry as it is.`);
    if (places.has(entry.name)) throw refuse(`Entry ${name} is there twice.`);
    if (entry.headerStart < end) throw refuse(`Entry ${name} overlaps the one before it.`);
    places.set(entry.name, entry);
    end = entry.start + entry.bytes;
  }
  return places;
}

/**
 * A file for the zip reader that stays its owner's to close. Positions come out of the archive: one that no read can take
 * is an error here, where the library's own reader would throw where nobody can catch it.
 */
class BorrowedFile extends RandomAccessReader {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#file
      .read(buffer, offset, length, position)
      .then(
        ({ bytesRead }) => callback(bytesRead < length ? new Error('unexpected end of file') : null),
        callback,
      );
  }
}

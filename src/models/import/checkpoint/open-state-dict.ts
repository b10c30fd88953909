import { open, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { openSafetensors } from '../../../adapter/safetensors.ts';
import { decodeTensor } from '../../../adapter/tensor-bytes.ts';
import { LoradropError } from '../../../base/errors.ts';
import { modelErrors } from '../../errors.ts';
import { refuseDirectory } from './foreign-directory.ts';
import { refuseForeignFile, SNIFFED_BYTES } from './foreign-file.ts';
import type { StateDict } from './state-dict.ts';
import { readTorchLegacy } from './torch/legacy.ts';
import { openTorch } from './torch/open.ts';
import { readTorchZip } from './torch/zip.ts';

/** Largest index of a sharded checkpoint; a line of 200 bytes for each of 80,000 tensors. */
const MAX_INDEX_BYTES = 16 << 20;
/** Most files of a sharded checkpoint: all are open at once. */
const MAX_SHARDS = 256;

const ShardIndex = Compile(
  Type.Object({
    weight_map: Type.Record(
      Type.String(),
      // A plain name beside the index: nothing in it can lead elsewhere.
      Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$' }),
    ),
  }),
);

/**
 * Opens the state dict in a file of safetensors or of `torch.save`, told by its first bytes and not by its name, or in the
 * files an `….index.json` names beside itself. They are held open until `close`. Errors: `checkpoint-invalid` naming the
 * file and what is wrong.
 */
export async function openStateDict(path: string): Promise<StateDict> {
  const paths = path.endsWith('.index.json') ? await shardsOf(path) : [path];
  const files: StateDict[] = [];
  const close = async () => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    for (const shard of paths) files.push(await asCheckpoint(shard, openFile(shard)));
  } catch (error) {
    await close();
    throw error;
  }
  const owners = new Map(files.flatMap((file) => file.entries.map(({ name }) => [name, file] as const)));
  return {
    entries: files.flatMap(({ entries }) => entries),
    others: files.flatMap(({ others = [] }) => others),
    stream: (name, options) => owners.get(name)!.stream(name, options),
    close,
  };
}

async function openFile(path: string): Promise<StateDict> {
  switch (await formatOf(path)) {
    case 'torch-zip':
      return openTorch(path, readTorchZip);
    case 'torch-legacy':
      return openTorch(path, readTorchLegacy);
    case 'safetensors': {
      const file = await openSafetensors(path);
      const dtypes = new Map(file.header.tensors.map(({ name, dtype }) => [name, dtype]));
      return {
        entries: file.header.tensors,
        async *stream(name, options = {}) {
          for await (const bytes of file.stream(name, options))
            yield decodeTensor(name, bytes, dtypes.get(name)!);
        },
        close: file.close,
      };
    }
  }
}

/** What the first bytes say. Errors: `checkpoint-invalid` where they say that it is something else. */
async function formatOf(path: string): Promise<'torch-zip' | 'torch-legacy' | 'safetensors'> {
  const file = await open(path, 'r');
  try {
    const status = await file.stat();
    if (status.isDirectory()) await refuseDirectory(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SNIFFED_BYTES), 0, SNIFFED_BYTES, 0);
    const head = buffer.subarray(0, bytesRead);
    refuseForeignFile(basename(path), head, status.size);
    if (head.toString('latin1', 0, 4) === 'PK\x03\x04') return 'torch-zip';
    // A pickle opens with the PROTO opcode. So may a safetensors file, whose first byte is the lowest one of a length: its
    // header's first brace, behind the eight bytes of that length, is where no pickle of PyTorch has one.
    return head[0] === 0x80 && head[8] !== 0x7b ? 'torch-legacy' : 'safetensors';
  } finally {
    await file.close();
  }
}

async function shardsOf(path: string): Promise<string[]> {
  const { size } = await asCheckpoint(path, stat(path));
  if (size > MAX_INDEX_BYTES) {
    throw modelErrors.checkpoint(`The index of the checkpoint is larger than ${MAX_INDEX_BYTES} bytes.`);
  }
  let index: unknown;
  try {
    index = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw modelErrors.checkpoint('The index of the checkpoint is not JSON.', { cause });
  }
  if (!ShardIndex.Check(index)) {
    throw modelErrors.checkpoint(
      'The index of the checkpoint has no weight_map of names to plain file names.',
    );
  }
  const names = [...new Set(Object.values(index.weight_map))].sort();
  if (names.length > MAX_SHARDS) {
    throw modelErrors.checkpoint(`The checkpoint has ${names.length} files; ${MAX_SHARDS} are the limit.`);
  }
  return names.map((name) => join(dirname(path), name));
}

/** Failures of reading a file as failures of the checkpoint, the system's reasons by their codes. */
async function asCheckpoint<T>(path: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (cause) {
    const reason = cause instanceof LoradropError ? cause.message : (cause as NodeJS.ErrnoException).code;
    throw modelErrors.checkpoint(`${basename(path)} cannot be read: ${reason}`, { cause });
  }
}

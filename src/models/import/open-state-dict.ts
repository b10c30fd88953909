import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { openSafetensors, type SafetensorsFile } from '../../adapter/safetensors.ts';
import { decodeTensor } from '../../adapter/tensor-bytes.ts';
import { LoradropError } from '../../base/errors.ts';
import { modelErrors } from '../errors.ts';
import type { StateDict } from './state-dict.ts';

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
 * Opens the state dict in a safetensors file, or in the shards an `….index.json` names beside itself. The files are held
 * open until `close`. Errors: `checkpoint-invalid` with what is wrong.
 */
export async function openStateDict(path: string): Promise<StateDict> {
  const paths = path.endsWith('.index.json') ? await shardsOf(path) : [path];
  const files: SafetensorsFile[] = [];
  const close = async () => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    for (const shard of paths) files.push(await asCheckpoint(openSafetensors(shard)));
  } catch (error) {
    await close();
    throw error;
  }
  const owners = new Map(
    files.flatMap((file) => file.header.tensors.map((tensor) => [tensor.name, { file, tensor }] as const)),
  );
  return {
    entries: files.flatMap(({ header }) => header.tensors),
    async *stream(name, options = {}) {
      const { file, tensor } = owners.get(name)!;
      for await (const bytes of file.stream(name, options)) yield decodeTensor(name, bytes, tensor.dtype);
    },
    close,
  };
}

async function shardsOf(path: string): Promise<string[]> {
  const { size } = await asCheckpoint(stat(path));
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

/** Failures of reading the file as failures of the checkpoint, the system's reasons by their codes. */
async function asCheckpoint<T>(opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (cause) {
    const reason = cause instanceof LoradropError ? cause.message : (cause as NodeJS.ErrnoException).code;
    throw modelErrors.checkpoint(`The checkpoint cannot be read: ${reason}`, { cause });
  }
}

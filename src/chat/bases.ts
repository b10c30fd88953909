/** Base models as GGUF files in one directory, and which base each of them is. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';

/** What stands beside a GGUF file, as `NAME.gguf.json`: which base it is. `loradrop bases pull` writes it. */
export const BaseSidecar = Type.Object({
  /** The base's id, as bundles and adapters name it: `HuggingFaceTB/SmolLM2-135M-Instruct`. */
  base: Type.String({ minLength: 1, maxLength: 200 }),
  /** Where the file came from. */
  source: Type.Optional(Type.String({ maxLength: 500 })),
});
/** See {@link BaseSidecar}. */
export type BaseSidecar = Static<typeof BaseSidecar>;

/** A base model that can be asked. */
export type ChatBase = {
  /** What `model` of a request names: the base's id where it is known, else the file's name without `.gguf`. */
  readonly id: string;
  readonly file: string;
  readonly path: string;
  readonly bytes: number;
  /** When the file was written, in milliseconds since the epoch. */
  readonly changedAt: number;
};

/** Name of the sidecar of a GGUF file. */
export const sidecarOf = (file: string) => `${file}.json`;

/** Most files looked at: a directory of bases has a handful. */
const MAX_FILES = 1000;
/** Largest sidecar that is read: it holds two short texts. */
const MAX_SIDECAR_BYTES = 4096;
/** What names of GGUF files say of their numbers, at the end: `.Q4_1`, `-q8_0`, `_IQ4_XS`, `.f16`. */
const QUANTISATION = /[-._](?:i?q\d\w*|bf16|f16|f32|fp16|fp32|mxfp4\w*)$/i;
const sidecars = Compile(BaseSidecar);

/**
 * The bases of a directory in alphabetical order; none where it does not exist. A file is the base that its sidecar names,
 * else the one of `known` whose last part is the file's name but for case and quantisation: metadata inside the files is no
 * help, since it often has the name of a training run. Of two files for one base the first counts.
 */
export async function listBases(directory: string, known: readonly string[]): Promise<ChatBase[]> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
  const bases = new Map<string, ChatBase>();
  for (const file of entries
    .filter((name) => /\.gguf$/i.test(name))
    .sort()
    .slice(0, MAX_FILES)) {
    const path = join(directory, file);
    const status = await stat(path).catch(() => undefined);
    if (!status?.isFile()) continue;
    const id = (await readSidecar(join(directory, sidecarOf(file))))?.base ?? idByName(file, known);
    if (!bases.has(id)) bases.set(id, { id, file, path, bytes: status.size, changedAt: status.mtimeMs });
  }
  return [...bases.values()];
}

function idByName(file: string, known: readonly string[]): string {
  const stem = file.replace(/\.gguf$/i, '');
  const plain = stem.replace(QUANTISATION, '').toLowerCase();
  return known.find((id) => id.split('/').at(-1)!.toLowerCase() === plain) ?? stem;
}

/** A sidecar that cannot be read is none: the file's name then decides. */
async function readSidecar(path: string): Promise<BaseSidecar | undefined> {
  try {
    if ((await stat(path)).size > MAX_SIDECAR_BYTES) return undefined;
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return sidecars.Check(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

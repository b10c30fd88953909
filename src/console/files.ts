/** The files of the console, as the service sends them: plain modules, styles and a page, nothing of them built. */
import { readdir, readFile } from 'node:fs/promises';
import * as nodeModule from 'node:module';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { type Sha256, sha256 } from '../base/digest.ts';

/** A file that is sent to browsers. */
export type ConsoleFile = {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly gzipped: Uint8Array;
  readonly sha256: Sha256;
};

/** The libraries of the page, by the names that its modules import. */
const LIBRARIES = { preact: 'preact.js', 'preact/hooks': 'hooks.js', htm: 'htm.js' } as const;
/** Modules of the client that the page uses as they are. */
const CLIENT_MODULES = ['request', 'events', 'errors'];
const SCRIPT = 'text/javascript; charset=utf-8';
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  js: SCRIPT,
};
const PAGE = join(import.meta.dirname, 'page');
const CLIENT = join(import.meta.dirname, '..', 'client');
const compress = promisify(gzip);

/** Reads all files, by their names; the page itself is `index.html`. */
export async function readConsoleFiles(): Promise<ReadonlyMap<string, ConsoleFile>> {
  const files = new Map<string, ConsoleFile>();
  const add = async (name: string, bytes: Uint8Array) => {
    const mediaType = TYPES[name.split('.').at(-1)!]!;
    files.set(name, {
      mediaType,
      bytes,
      gzipped: await compress(bytes, { level: 9 }),
      sha256: sha256(bytes),
    });
  };
  const paths = [
    ...(await readdir(PAGE)).map((name) => join(PAGE, name)),
    ...(await readdir(CLIENT))
      .filter((name) => CLIENT_MODULES.some((module) => [`${module}.ts`, `${module}.js`].includes(name)))
      .map((name) => join(CLIENT, name)),
  ];
  for (const path of paths) {
    const name = basename(path);
    const ending = name.split('.').at(-1)!;
    if (!isScript(ending) && !Object.hasOwn(TYPES, ending)) continue;
    const bytes = await readFile(path);
    if (isScript(ending))
      await add(`${name.slice(0, -3)}.js`, Buffer.from(scriptOf(bytes.toString(), ending)));
    else await add(name, bytes);
  }
  for (const [specifier, name] of Object.entries(LIBRARIES)) {
    const source = await readFile(new URL(import.meta.resolve(specifier)), 'utf8');
    await add(name, Buffer.from(withNames(source.replace(/\n?\/\/# sourceMappingURL=\S+\s*$/, ''))));
  }
  return files;
}

const isScript = (ending: string) => ending === 'js' || ending === 'ts';

/** A module as browsers take it. Of a packed service the modules are JavaScript; in development Node takes the types out. */
function scriptOf(source: string, ending: string): string {
  return withNames(ending === 'ts' ? nodeModule.stripTypeScriptTypes(source) : source);
}

/**
 * Libraries by the addresses of their files, since browsers know no packages and a map of imports would have to be inline;
 * modules, wherever they lie, by the names under which they are sent.
 */
function withNames(source: string): string {
  return source
    .replace(/(\bfrom\s*["'])\.{1,2}\/(?:[\w.-]+\/)*([\w-]+)\.(?:ts|js)(["'])/g, '$1./$2.js$3')
    .replace(
      /(\bfrom\s*|\bimport\s*)(["'])(preact\/hooks|preact|htm)\2/g,
      (_all, before: string, quote: string, name: keyof typeof LIBRARIES) =>
        `${before}${quote}./${LIBRARIES[name]}${quote}`,
    );
}

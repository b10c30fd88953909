/**
 * Builds `dist/`: the sources as JavaScript for Node 20 and newer, with what lies beside them, and a stamp of the commit.
 * Sources run as they are in development; this is for packing, and `npm pack` runs it.
 */
import { execFileSync } from 'node:child_process';
import { cp, glob, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sourceCommit } from '../src/cli/version.ts';

/** The repository. */
export const ROOT = join(import.meta.dirname, '..');
const DIST = join(ROOT, 'dist');
/** A file that is started as a process of its own, or read, by its place beside the one that names it. */
const BESIDE = /(new URL\(\s*'\.[^']*)\.ts('\s*,\s*import\.meta\.url\s*\))/g;

/** Builds anew. The compiler is TypeScript's own; errors of types end the build. */
export async function build(): Promise<void> {
  await rm(DIST, { recursive: true, force: true });
  const compiler = join(ROOT, 'node_modules/.bin/tsc');
  // The client's types are for dependents, and the console's modules for browsers: both with their libraries, without Node's.
  for (const project of [
    'tsconfig.build.json',
    'packaging/tsconfig.client.json',
    'packaging/tsconfig.console.json',
  ]) {
    execFileSync(compiler, ['-p', project], { cwd: ROOT, stdio: 'inherit' });
  }
  // The compiler rewrites the endings of imports alone.
  for await (const file of glob('**/*.js', { cwd: DIST })) {
    const path = join(DIST, file);
    const text = await readFile(path, 'utf8');
    const rewritten = text.replace(BESIDE, '$1.js$2');
    if (/new URL\([^)]*\.ts'/.test(rewritten)) throw new Error(`${file} names a file that ends in .ts.`);
    if (rewritten !== text) await writeFile(path, rewritten);
  }
  await cp(join(ROOT, 'src'), DIST, {
    recursive: true,
    filter: (path) => !path.endsWith('.ts') && !path.endsWith('tsconfig.json'),
  });
  const stamp = { commit: sourceCommit(ROOT), built: new Date().toISOString() };
  await writeFile(join(DIST, 'build.json'), `${JSON.stringify(stamp)}\n`);
}

if (import.meta.main) await build();

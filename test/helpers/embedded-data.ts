import { cp, mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import packageJson from '../../package.json' with { type: 'json' };
import { newId } from '../../src/base/ids.ts';
import { TOOLS_DIRECTORY } from './services.ts';

/** An empty cluster of this version of PGlite, without anything of ours. */
const template = () => join(TOOLS_DIRECTORY, `pglite-${packageJson.dependencies['@electric-sql/pglite']}`);

/**
 * Gives a data directory that has no embedded queue yet the cluster that the queue's first start would make: making one takes
 * three seconds of a core, copying one a quarter. Tables are made by the start itself. Answers the directory.
 */
export async function withEmptyCluster(dataDirectory: string): Promise<string> {
  const place = join(dataDirectory, 'queue', 'postgres');
  if (await isThere(place)) return dataDirectory;
  if (!(await isThere(template()))) await makeTemplate();
  await mkdir(join(dataDirectory, 'queue'), { recursive: true });
  await cp(template(), place, { recursive: true });
  return dataDirectory;
}

async function makeTemplate(): Promise<void> {
  const making = `${template()}.${newId('making')}`;
  await mkdir(TOOLS_DIRECTORY, { recursive: true });
  const database = await PGlite.create(making);
  await database.close();
  // Another test may have been first.
  await rename(making, template()).catch(() => rm(making, { recursive: true, force: true }));
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

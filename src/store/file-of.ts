import { storeErrors } from './errors.ts';
import type { StoredAdapter, StoredFile } from './store.ts';

/** What the store knows of a file. Errors: `adapter-not-found`. */
export function fileOf({ files }: Pick<StoredAdapter, 'files'>, name: string): StoredFile {
  const file = files.find((each) => each.name === name);
  if (!file) throw storeErrors.notFound('The adapter has no such file.');
  return file;
}

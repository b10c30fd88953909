import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { storeErrors } from './errors.ts';
import { openLocalStore } from './local.ts';
import { openS3Store, type S3StoreOptions } from './s3.ts';
import type { AdapterStore } from './store.ts';

/**
 * Opens the store that an address names: a directory, a `file://` URL, or `s3://bucket/prefix`. Errors:
 * `store-address-invalid` for an address of no store, and those of the store.
 */
export async function openStore(url: string, s3: Omit<S3StoreOptions, 'url'> = {}): Promise<AdapterStore> {
  if (url.startsWith('s3:')) return await openS3Store({ ...s3, url });
  if (url.startsWith('file:')) return await openLocalStore({ directory: fileURLToPath(url) });
  if (/^[a-z][a-z0-9+.-]+:/i.test(url)) {
    throw storeErrors.badAddress('A store is a directory, a file:// URL or s3://bucket/prefix.');
  }
  return await openLocalStore({ directory: resolve(url) });
}

/** Where bundles are fetched from: a Hub, a web server, object storage or a directory, all read in the same way. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { Sha256 } from '../../base/digest.ts';
import { modelErrors } from '../errors.ts';
import { type HubAddress, parseHubAddress } from '../hub/address.ts';
import type { HubConnection } from '../hub/hub-fetch.ts';
import { openRepository } from '../hub/open-repository.ts';

/** The files of one bundle at their origin. */
export type BundleSource = {
  /**
   * The bytes of a file from `fromByte` to its end. Errors: retryable ones where reading on may do better later, as
   * `downloadFile` expects.
   */
  read(name: string, options: { readonly fromByte: number }): AsyncIterable<Uint8Array>;
};

/** Where a bundle is, and which one it has to be. */
export type BundleAddress = {
  readonly place:
    | { readonly kind: 'hub'; readonly hub: HubAddress }
    | { readonly kind: 'web'; readonly url: URL }
    | { readonly kind: 's3'; readonly url: string }
    | { readonly kind: 'directory'; readonly path: string };
  /** Digest of its `bundle.json`, and so of the whole bundle. */
  readonly digest?: Sha256;
};

const PINNED = /^(?<place>.+)@sha256:(?<digest>[0-9a-f]{64})$/;

/**
 * Reads `hf://owner/name`, `https://host/directory`, `s3://bucket/prefix`, `file:///directory` or a directory, each with or
 * without `@sha256:DIGEST` at its end. Plain `http://` needs the digest, since others could change what comes that way.
 * Errors: `repository-unusable`.
 */
export function parseBundleAddress(text: string): BundleAddress {
  const { place = text, digest } = PINNED.exec(text)?.groups ?? {};
  const pin = digest === undefined ? {} : { digest };
  if (place.startsWith('hf:')) return { place: { kind: 'hub', hub: parseHubAddress(place) }, ...pin };
  if (place.startsWith('s3:')) return { place: { kind: 's3', url: place }, ...pin };
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(place)?.[1]?.toLowerCase();
  if (scheme === undefined) return { place: { kind: 'directory', path: place }, ...pin };
  const url = URL.parse(place);
  // A login or the signature of a shared link would end in logs, where settings and commands are shown.
  if (!url || url.username || url.password || url.search) throw unusable();
  if (scheme === 'file')
    return { place: { kind: 'directory', path: decodeURIComponent(url.pathname) }, ...pin };
  if (scheme === 'http' && digest === undefined) {
    throw modelErrors.repository(
      'A bundle that comes by http:// needs its digest: add @sha256: and 64 digits.',
    );
  }
  if (scheme !== 'http' && scheme !== 'https') throw unusable();
  return { place: { kind: 'web', url }, ...pin };
}

function unusable(): Error {
  return modelErrors.repository(
    'A bundle’s address is hf://owner/name, https://host/directory (without a login or a query), s3://bucket/prefix or a directory, and may end in @sha256: and a digest.',
  );
}

/** The files of a directory on this machine. */
export function directorySource(path: string): BundleSource {
  return {
    async *read(name, { fromByte }) {
      try {
        yield* createReadStream(join(path, name), { start: fromByte }) as AsyncIterable<Uint8Array>;
      } catch (cause) {
        const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
        throw modelErrors.repository(`${name} of the directory cannot be read${code}.`, { cause });
      }
    },
  };
}

/** The files of a repository on a Hub, at the commit that its revision is now. Errors: those of {@link openRepository}. */
export async function hubSource(address: HubAddress, connection: HubConnection): Promise<BundleSource> {
  const repository = await openRepository(address, connection);
  return {
    read(name, options) {
      const file = repository.files.find(({ path }) => path === name);
      if (!file) throw modelErrors.repository(`The repository has no ${name}.`);
      return repository.read(file, options);
    },
  };
}

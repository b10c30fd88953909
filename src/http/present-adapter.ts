/** A stored adapter → what clients see of it. */
import { Value } from 'typebox/value';
import { ADAPTER_GGUF_FILE } from '../adapter/convert-gguf.ts';
import { canBeGguf } from '../adapter/gguf-architecture.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { baseErrors } from '../base/errors.ts';
import { AdapterInfo } from '../jobs/adapter-info.ts';
import type { StoredAdapter } from '../store/store.ts';
import type { FileLinks } from './adapter-links.ts';
import { adapterArchiveUrl, adapterFileUrl, adapterUrl, jobUrl } from './links.ts';
import type { Adapter } from './schemas.ts';

/** The files of an adapter that have an address of their own, with their media types. */
export const SERVED_FILES = {
  [ADAPTER_WEIGHTS_FILE]: 'application/octet-stream',
  [ADAPTER_CONFIG_FILE]: 'application/json',
  [ADAPTER_GGUF_FILE]: 'application/octet-stream',
} as const;
/** A name of {@link SERVED_FILES}. */
export type ServedFile = keyof typeof SERVED_FILES;

/** Where an adapter lies, if that is an address in shared storage: a path of this machine is nobody else's business. */
export function sharedLocation(location: string): string | undefined {
  return /^(?!file:)[a-z][a-z0-9+.-]+:\/\//i.test(location) ? location : undefined;
}

/**
 * The adapter as clients see it. `location` is shown when it is an address in shared storage, never when it is a path of
 * this machine. Errors: `internal` for a record that another version wrote.
 */
export function presentAdapter(stored: StoredAdapter, location: string, links?: FileLinks): Adapter {
  const { id, info, files } = stored;
  if (!Value.Check(AdapterInfo, info)) {
    throw baseErrors.internal('The stored adapter’s record is not one of this version.');
  }
  const { jobId, index, model, bundleDigest, trained, dtype, device, seed, name } = info;
  const { architecture, heads, licence, warnings } = info;
  const { tensors, parameters, baseModel, rank, alpha, rsLora, promptDigests, transform } = info;
  const shared = sharedLocation(location);
  return {
    id,
    jobId,
    index,
    model,
    bundleDigest,
    trained,
    dtype,
    device,
    seed,
    ...(name !== undefined && { name }),
    tensors,
    parameters,
    baseModel,
    ...(architecture !== undefined && { architecture }),
    ...(heads && { heads }),
    rank,
    alpha,
    ...(rsLora !== undefined && { rsLora }),
    ...(licence && { licence }),
    ...(warnings && { warnings }),
    promptDigests,
    ...(transform && { transform }),
    createdAt: new Date(stored.createdAt).toISOString(),
    expiresAt: new Date(stored.expiresAt).toISOString(),
    ...(shared !== undefined && { location: shared }),
    files: files.map(({ name, bytes, sha256 }) => ({
      name,
      bytes,
      sha256,
      ...(name in SERVED_FILES && { url: adapterFileUrl(id, name) }),
    })),
    urls: {
      self: adapterUrl(id),
      job: jobUrl(jobId),
      weights: adapterFileUrl(id, ADAPTER_WEIGHTS_FILE),
      config: adapterFileUrl(id, ADAPTER_CONFIG_FILE),
      ...(hasGguf(stored, info) && { gguf: adapterFileUrl(id, ADAPTER_GGUF_FILE) }),
      archive: adapterArchiveUrl(id),
    },
    ...(links && { links: presentLinks(links) }),
  };
}

/** Links as clients see them. */
export function presentLinks({ weights, config, expiresAt }: FileLinks): NonNullable<Adapter['links']> {
  return { weights, config, expiresAt: new Date(expiresAt).toISOString() };
}

/** Whether the adapter is kept as GGUF, or says all that a conversion needs. */
function hasGguf({ files }: StoredAdapter, { architecture, heads }: AdapterInfo): boolean {
  if (files.some(({ name }) => name === ADAPTER_GGUF_FILE)) return true;
  return architecture !== undefined && canBeGguf({ architecture, ...(heads && { heads }) });
}

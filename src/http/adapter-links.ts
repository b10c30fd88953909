/** Links to adapters' files that work without a key: those of the store where it gives some out, else our own. */
import type { Limits } from '../access/caller.ts';
import { accessErrors } from '../access/errors.ts';
import { checkLink, type LinkTarget, signLink } from '../access/link.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { LoradropError } from '../base/errors.ts';
import type { TenantId } from '../base/ids.ts';
import { inBatches } from '../base/in-batches.ts';
import type { GenerateRecord } from '../jobs/generate-queue.ts';
import { storeErrors } from '../store/errors.ts';
import type { TenantStore } from '../store/store.ts';
import { signedFileUrl } from './links.ts';

/** Links to the files of one adapter. */
export type FileLinks = {
  readonly weights: string;
  readonly config: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
};

/** Links of some adapters, by their ids. */
export type LinksById = ReadonlyMap<string, FileLinks>;

/** Makes links, and checks those that come back. */
export type AdapterLinks = {
  /** False where the store gives no links out and there is no secret to sign our own with. */
  readonly available: boolean;
  /** Jobs get links whose request does not say. */
  readonly byDefault: boolean;
  /** Bounds on the requests that come by links of one tenant. */
  readonly limits: Limits;
  /** Links to an adapter's files; undefined when it is not there. Errors: those of the store. */
  of(name: TenantId): Promise<FileLinks | undefined>;
  /** Links of a job that asked for them and has succeeded; none for others. Errors: those of the store. */
  ofJob(record: GenerateRecord): Promise<LinksById>;
  /** Lets a link of ours pass. Errors: `link-invalid`, `link-expired`. */
  check(target: LinkTarget, signature: string): void;
};

/** Options of {@link createAdapterLinks}. */
export type AdapterLinksOptions = {
  readonly store: { of(tenant: string): Pick<TenantStore, 'find' | 'link'> };
  /** The store gives links out itself. */
  readonly storeLinks: boolean;
  /** Signs our own links. */
  readonly secret?: string | undefined;
  /** Where clients reach the service; without it our own links are relative. */
  readonly publicUrl?: string | undefined;
  readonly seconds: number;
  readonly byDefault: boolean;
  readonly limits?: Limits;
  readonly now?: () => number;
};

/** Adapters whose links are made at once: each takes a few requests of an object store. */
const BATCH = 16;

/** Makes {@link AdapterLinks}. */
export function createAdapterLinks(options: AdapterLinksOptions): AdapterLinks {
  const { store, storeLinks, secret, publicUrl = '', seconds, byDefault, limits = {} } = options;
  const { now = Date.now } = options;

  async function of({ tenant, id }: TenantId): Promise<FileLinks | undefined> {
    const mine = store.of(tenant);
    const adapter = await mine.find(id);
    // No link outlives what it leads to.
    const untilRemoval = Math.floor(((adapter?.expiresAt ?? 0) - now()) / 1000);
    const expiresInSeconds = Math.min(seconds, untilRemoval);
    if (!adapter || expiresInSeconds < 1) return undefined;
    const expiresAt = Math.floor(now() / 1000) + expiresInSeconds;
    const link = async (file: string) => {
      if (storeLinks) {
        const given = await mine.link(id, file, { expiresInSeconds });
        if (given !== undefined) return given;
      }
      if (secret === undefined) return undefined;
      const target = { tenant, id, file, expiresAt };
      return publicUrl + signedFileUrl(target, signLink(target, secret));
    };
    const [weights, config] = await Promise.all([link(ADAPTER_WEIGHTS_FILE), link(ADAPTER_CONFIG_FILE)]);
    return weights && config ? { weights, config, expiresAt: expiresAt * 1000 } : undefined;
  }

  return {
    available: storeLinks || secret !== undefined,
    byDefault,
    limits,
    of: (name) => of(name).catch(unlessGone),
    async ofJob({ tenant, status, payload }) {
      const links = new Map<string, FileLinks>();
      if (!payload.presign || status !== 'succeeded') return links;
      const { adapterIds } = payload;
      const made = await inBatches(adapterIds, BATCH, (id) => of({ tenant, id }).catch(unlessGone));
      for (const [index, each] of made.entries()) if (each) links.set(adapterIds[index]!, each);
      return links;
    },
    check(target, signature) {
      if (secret === undefined) throw accessErrors.linkInvalid('No links of this form are made here.');
      checkLink(target, signature, { secret, now: now() });
    },
  };
}

/** An adapter that is removed while its links are made has none. */
function unlessGone(error: unknown): undefined {
  if (error instanceof LoradropError && error.code === storeErrors.notFound.spec.code) return undefined;
  throw error;
}

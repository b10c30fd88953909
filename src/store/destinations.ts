/** Copies of stored adapters in object storage of others: where they may go, and sending them. */
import type { S3Client } from '@aws-sdk/client-s3';
import {
  type DestinationPlace,
  type DestinationRule,
  type DestinationServer,
  findRule,
  parseDestinationRules,
} from './destination-rules.ts';
import { destinationErrors } from './errors.ts';
import { createS3Client } from './s3-bucket.ts';
import { abortUploads, copyToS3, type S3Target } from './s3-destination.ts';
import type { S3UploadOptions } from './s3-upload.ts';
import type { StoredAdapter, TenantStore } from './store.ts';

/** Options of {@link openDestinations}. */
export type DestinationsOptions = Partial<
  Pick<S3UploadOptions, 'partBytes' | 'partsInFlight' | 'encryption' | 'kmsKeyId'>
> & {
  /** The setting; see `parseDestinationRules`. */
  readonly allowed: string;
  /** For servers that an entry does not say otherwise of. */
  readonly forcePathStyle?: boolean;
};

/** The destinations that the operator allows. */
export type Destinations = {
  /** Refuses a place that a tenant may not have copies sent to. Errors: `destination-not-allowed`. */
  check(tenant: string, place: DestinationPlace): void;
  /**
   * Copies an adapter's files to `{prefix}/{id}/`, the last of `files` last: once that one is there, all are. Files that are
   * there already are left as they are; nothing is ever overwritten. Memory is bounded, whatever the adapter's size. Errors:
   * `adapter-not-found`, `stored-file-damaged` and those of the store for the source; for the target those of
   * `destinationErrors`.
   */
  copy(
    which: { readonly tenant: string; readonly place: DestinationPlace },
    adapter: StoredAdapter,
    options: {
      readonly source: Pick<TenantStore, 'read' | 'location'>;
      /** Names of the adapter's files, in the order in which they are to show. */
      readonly files: readonly string[];
      readonly signal: AbortSignal;
    },
  ): Promise<void>;
  close(): Promise<void>;
};

const PART_BYTES = 8 << 20;
const PARTS_IN_FLIGHT = 4;
/** Few, since the copy as a whole is tried again for a day and others wait for its place meanwhile. */
const MAX_ATTEMPTS = 3;

/** Opens the destinations of a setting; servers are reached once there is something to copy. Errors: `destination-settings-invalid`. */
export function openDestinations(options: DestinationsOptions): Destinations {
  const {
    allowed,
    forcePathStyle = false,
    partBytes = PART_BYTES,
    partsInFlight = PARTS_IN_FLIGHT,
  } = options;
  const { encryption, kmsKeyId } = options;
  const rules = parseDestinationRules(allowed);
  const clients = new Map<string, S3Client>();

  function clientOf(server: DestinationServer): S3Client {
    const key = JSON.stringify(server);
    const client =
      clients.get(key) ?? createS3Client({ forcePathStyle, maxAttempts: MAX_ATTEMPTS, ...server });
    clients.set(key, client);
    return client;
  }

  function ruleOf(tenant: string, place: DestinationPlace): DestinationRule {
    const rule = findRule(rules, tenant, place);
    if (rule) return rule;
    throw destinationErrors.notAllowed(
      'Copies of this tenant’s adapters may not be sent to this bucket and prefix.',
      { fields: [{ pointer: '/destination', message: 'is not among those allowed' }] },
    );
  }

  return {
    check: (tenant, place) => void ruleOf(tenant, place),
    async copy({ tenant, place }, adapter, { source, files, signal }) {
      const { server } = ruleOf(tenant, place);
      // Another endpoint or account knows nothing of the store's objects and keys.
      const own = server.endpoint === undefined && server.profile === undefined;
      const target: S3Target = {
        client: clientOf(server),
        bucket: place.bucket,
        prefix: `${place.prefix === '' ? '' : `${place.prefix}/`}${adapter.id}/`,
        partBytes,
        partsInFlight,
        ...(own && encryption && { encryption }),
        ...(own && kmsKeyId !== undefined && { kmsKeyId }),
      };
      await abortUploads(target);
      for (const name of files) {
        signal.throwIfAborted();
        await copyToS3(target, adapter, { name, source, inside: own, signal });
      }
    },
    async close() {
      for (const client of clients.values()) client.destroy();
      clients.clear();
    },
  };
}

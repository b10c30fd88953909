/** The stores that the settings name: of adapters, of files that clients upload, and those that adapters are copied to. */
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { type Destinations, openDestinations } from '../store/destinations.ts';
import { openStore } from '../store/open-store.ts';
import type { AdapterStore } from '../store/store.ts';

/** Opens the store that the settings name. Errors: `store-address-invalid`, and those of the store. */
export function openConfiguredStore(config: Config, url = config.storeUrl): Promise<AdapterStore> {
  return openStore(url ?? join(config.dataDir, 'store'), {
    ...uploadSettings(config),
    allowUnconditionalWrites: config.s3AllowUnconditionalWrites,
  });
}

/** Opens the store of files that clients upload, beside that of adapters. Errors: those of the store. */
export function openConfiguredFiles(config: Config): Promise<AdapterStore> {
  const { storeUrl, dataDir } = config;
  return openConfiguredStore(
    config,
    storeUrl === undefined ? join(dataDir, 'store', 'files') : fileStoreUrl(storeUrl),
  );
}

/** The place below a store's: `s3://bucket/prefix/files`, or a directory. */
function fileStoreUrl(storeUrl: string): string {
  return `${storeUrl.replace(/\/+$/, '')}/files`;
}

function uploadSettings(config: Config) {
  const { s3ForcePathStyle, s3PartBytes, s3PartsInFlight, s3Encryption, s3KmsKeyId } = config;
  return {
    forcePathStyle: s3ForcePathStyle,
    partBytes: s3PartBytes,
    partsInFlight: s3PartsInFlight,
    ...(s3Encryption && { encryption: s3Encryption }),
    ...(s3KmsKeyId !== undefined && { kmsKeyId: s3KmsKeyId }),
  };
}

/** Opens what adapters may be copied to. Errors: `destination-settings-invalid`. */
export function openConfiguredDestinations(config: Config): Destinations {
  return openDestinations({ ...uploadSettings(config), allowed: config.destinations ?? '' });
}

/** `loradrop models pull` of bundles into the cache: one address, or what the settings name (as an init container does). */
import { bundleCacheDirectory, bundlesDirectory } from '../compose/directories.ts';
import type { Config } from '../config/schema.ts';
import { UNTRAINED } from '../models/bundle.ts';
import {
  type BundleSource,
  directorySource,
  hubSource,
  parseBundleAddress,
} from '../models/sources/bundle-source.ts';
import { type FetchedBundle, fetchBundle } from '../models/sources/fetch-bundle.ts';
import { placeBundles } from '../models/sources/place-bundles.ts';
import { webSource } from '../models/sources/web-source.ts';
import { openS3Files } from '../store/s3-files.ts';
import { createByteProgress } from './byte-progress.ts';
import { interruptible } from './interrupt.ts';
import type { Output } from './output.ts';

/** What {@link pullBundles} works with. */
export type PullBundlesOptions = {
  /** One bundle to add; absent: exactly those that the settings name. */
  readonly address: string | undefined;
  readonly config: Config;
  readonly manifestsOnly: boolean;
  readonly output: Output;
};

/**
 * Fetches bundles into the cache and shows them in the bundles directory. Run again it fetches nothing that is there, and
 * without an address it takes away what the settings no longer name. Errors: `repository-unusable`, those of fetching.
 */
export async function pullBundles({
  address,
  config,
  manifestsOnly,
  output,
}: PullBundlesOptions): Promise<void> {
  const named = address === undefined;
  const current = named ? listed(config.bundles) : [address];
  const superseded = named ? listed(config.supersededBundles) : [];
  const bar = output.progress('pulling');
  const show = createByteProgress(bar);
  const fetched = await interruptible(
    async (signal) => {
      const all: FetchedBundle[] = [];
      for (const each of [...current, ...superseded]) {
        const { place, digest } = parseBundleAddress(each);
        const closers: (() => void)[] = [];
        const open = () => openSource(place, config, signal, closers);
        try {
          all.push(
            await fetchBundle(open, {
              cacheDirectory: bundleCacheDirectory(config),
              digest,
              manifestOnly: manifestsOnly,
              signal,
              onProgress: show,
            }),
          );
        } finally {
          for (const close of closers) close();
        }
      }
      await placeBundles(bundlesDirectory(config), {
        current: all.slice(0, current.length).map(({ bundle }) => bundle),
        superseded: all.slice(current.length).map(({ bundle }) => bundle),
        only: named,
      });
      return all;
    },
    { left: 'the same command goes on from what is there' },
  ).finally(() => bar.stop());

  if (fetched.length === 0) {
    output.line('BUNDLES names none: nothing to pull. The bundle that comes with Loradrop will be served.');
  }
  for (const [index, { bundle, cached }] of fetched.entries()) {
    const { manifest, digest } = bundle;
    const what = manifestsOnly ? 'manifest' : 'bundle verified';
    const how = cached ? 'in the cache already' : `fetched, ${what}`;
    const role = index < current.length ? '' : ', superseded';
    output.line(`${manifest.id} ${manifest.version}: ${how}, digest ${digest}${role}`);
    if (!manifest.trained) output.line(UNTRAINED);
  }
}

function listed(addresses: string | undefined): string[] {
  return addresses?.split(/\s+/).filter(Boolean) ?? [];
}

async function openSource(
  place: ReturnType<typeof parseBundleAddress>['place'],
  config: Config,
  signal: AbortSignal,
  closers: (() => void)[],
): Promise<BundleSource> {
  switch (place.kind) {
    case 'hub':
      return hubSource(place.hub, { endpoint: config.hfEndpoint, token: config.hfToken, signal });
    case 'web':
      return webSource(place.url, { signal });
    case 'directory':
      return directorySource(place.path);
    case 's3': {
      const files = openS3Files(place.url, { forcePathStyle: config.s3ForcePathStyle, signal });
      closers.push(files.close);
      return files;
    }
  }
}

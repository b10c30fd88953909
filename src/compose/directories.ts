/** Where things lie on this machine, for the settings. */

import { join, resolve } from 'node:path';
import type { Config } from '../config/schema.ts';

/** The bundles directory that holds for the settings. */
export function bundlesDirectory(config: Pick<Config, 'bundlesDir' | 'dataDir'>): string {
  return resolve(config.bundlesDir ?? join(config.dataDir, 'bundles'));
}

/** The directory that keeps pulled bundles by digest, for the settings. */
export function bundleCacheDirectory(
  config: Pick<Config, 'bundleCacheDir' | 'bundlesDir' | 'dataDir'>,
): string {
  return resolve(config.bundleCacheDir ?? join(bundlesDirectory(config), '.cache'));
}

/** The directory of base models that holds for the settings. */
export function basesDirectory(config: Pick<Config, 'basesDir' | 'dataDir'>): string {
  return resolve(config.basesDir ?? join(config.dataDir, 'bases'));
}

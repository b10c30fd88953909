/** The bundles that the settings name. */
import { join } from 'node:path';
import { DTYPE_BYTES } from '../base/dtype.ts';
import { configErrors } from '../config/errors.ts';
import type { Config } from '../config/schema.ts';
import { adapterSize } from '../jobs/make-adapter.ts';
import { type ModelRegistry, openModelRegistry } from '../models/registry.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { openVerifiedFiles } from '../models/verified-files.ts';
import type { Logger } from '../observability/logger.ts';
import { bundlesDirectory } from './directories.ts';
import type { Role } from './role.ts';

/** Name in the data directory of the list of verified files of bundles. */
const VERIFIED_FILES = 'verified-files.json';

/** Opens the bundles of the settings, or the shipped one where there is none. Errors: `settings-invalid` where none is usable. */
export async function openModels(
  config: Config,
  role: Role,
  logger: Logger,
  signal: AbortSignal | undefined,
): Promise<ModelRegistry> {
  const models = await openModelRegistry({
    directory: bundlesDirectory(config),
    fallback: SHIPPED_BUNDLE,
    // What a model is like stands in its manifest; the weights are the workers' to check.
    manifestsOnly: role === 'api',
    verified: await openVerifiedFiles(join(config.dataDir, VERIFIED_FILES)),
    ...(signal && { signal }),
    ...(config.defaultModel !== undefined && { defaultId: config.defaultModel }),
  });
  for (const problem of models.problems) logger.error(problem, 'bundle left out');
  const [first] = models.list();
  if (!first) throw configErrors.invalid('There is no usable bundle. Import one, or repair those there are.');
  if (first.directory === SHIPPED_BUNDLE) {
    logger.info(
      { model: first.manifest.id },
      'no bundle of your own: serving the one that comes with Loradrop',
    );
  }
  return models;
}

/** Ids of the bases that bundles are for. */
export function knownBases(models: ModelRegistry): string[] {
  return models.list().map(({ manifest }) => manifest.base.id);
}

/** Bytes of the largest adapter that the models make, in the widest of the types. */
export function largestAdapter(models: ModelRegistry): number {
  return Math.max(0, ...models.list().map((bundle) => adapterSize(bundle).parameters * DTYPE_BYTES.f32));
}

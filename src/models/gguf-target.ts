/** What is known of the base of an adapter when it is to become GGUF. */
import { adapterErrors } from '../adapter/errors.ts';
import type { GgufTarget } from '../adapter/gguf-architecture.ts';
import { findBase } from '../lora/bases.ts';
import type { AttentionHeads } from '../lora/layout.ts';
import type { BundleManifest } from './manifest.ts';
import type { ModelRegistry } from './registry.ts';

/** What a bundle says of its base, with the heads of a base that is known by its id. */
export function targetOfBase({ id, architecture, heads }: BundleManifest['base']): GgufTarget {
  const known = heads ?? findBase(id)?.heads;
  return { architecture, ...(known && { heads: known }) };
}

/**
 * The same for an adapter that says what its base is. What it does not say, as adapters of older versions, is taken from a
 * bundle for that base, or is known by the base's id. Errors: `gguf-unsupported` where nobody knows the architecture.
 */
export function targetOfAdapter(
  info: {
    readonly baseModel: string;
    readonly architecture?: string | undefined;
    readonly heads?: AttentionHeads | undefined;
  },
  models: Pick<ModelRegistry, 'list'>,
): GgufTarget {
  const bundles = models.list().map(({ manifest }) => manifest.base);
  const known = [...bundles, findBase(info.baseModel)].filter((base) => base?.id === info.baseModel);
  const architecture = info.architecture ?? known[0]?.architecture;
  if (architecture === undefined) {
    throw adapterErrors.ggufUnsupported(
      `Neither the adapter nor a bundle says which architecture its base ${info.baseModel} has.`,
    );
  }
  const heads = info.heads ?? known.find((base) => base?.heads)?.heads;
  return { architecture, ...(heads && { heads }) };
}

/** A bundle → what clients see of it. */
import { type Bundle, UNTRAINED } from '../models/bundle.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { modelUrl } from './links.ts';
import type { Model } from './schemas.ts';
import type { HttpServices } from './services.ts';

/** The sentence that goes with everything an untrained bundle makes. */
export const UNTRAINED_NOTICE = `The model is ${UNTRAINED}.`;

/** What {@link presentModel} needs to know besides. */
type ModelContext = {
  readonly models: Pick<ModelRegistry, 'default'>;
  readonly unloadable?: HttpServices['unloadable'];
};

/** The model as clients see it. The bundle's directory is not part of it. */
export function presentModel(bundle: Bundle, { models, unloadable }: ModelContext): Model {
  const { manifest, digest } = bundle;
  const reason = unloadable?.().find((each) => each.digest === digest)?.reason;
  const { id, layout, condition, generator } = manifest;
  return {
    id,
    version: manifest.version,
    title: manifest.title,
    description: manifest.description,
    default: bundle === models.default(),
    trained: manifest.trained,
    ...(!manifest.trained && { notice: UNTRAINED_NOTICE }),
    ...(reason !== undefined && { unloadable: reason }),
    digest,
    bytes: manifest.files.reduce((sum, file) => sum + file.bytes, 0),
    licence: manifest.licence,
    provenance: manifest.provenance,
    family: manifest.family,
    takes: manifest.family === 't2l' ? 'description' : 'prompts',
    base: manifest.base,
    lora: {
      rank: layout.rank,
      alpha: layout.alpha,
      ...(layout.rsLora && { rsLora: true }),
      layers: layout.layers,
      targetModules: layout.modules.map(({ path }) => path.split('.').at(-1)!),
    },
    condition: { prompts: condition.prompts, tokens: condition.tokens, width: condition.width },
    decoder: {
      parameters: generator.parameters,
      precision: generator.precision,
      multiplyAdds: generator.multiplyAdds,
      memoryBytes: generator.memoryBytes,
    },
    ...(manifest.evaluation && { evaluation: manifest.evaluation }),
    urls: { self: modelUrl(id) },
  };
}

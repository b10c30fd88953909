/** A generation request → the job's payload: limits checked, prompts drawn, everything decided that a retry must not redo. */
import { randomBytes } from 'node:crypto';
import { checkGgufTarget } from '../adapter/gguf-architecture.ts';
import { arithmeticErrors } from '../arithmetic/errors.ts';
import { checkSteps } from '../arithmetic/plan.ts';
import { MAX_SUM_RANK } from '../arithmetic/steps.ts';
import { sha256Json } from '../base/digest.ts';
import type { GeneratePayload } from '../jobs/catalog.ts';
import type { LoraLayout } from '../lora/layout.ts';
import type { Bundle } from '../models/bundle.ts';
import { targetOfBase } from '../models/gguf-target.ts';
import type { BundleManifest } from '../models/manifest.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { checkPrompts } from '../prompts/check-prompts.ts';
import { drawForModel } from '../prompts/draw-for-model.ts';
import type { PromptReading } from '../prompts/read-unpacked.ts';
import { checkDeploy, plannedRank } from './deploy-request.ts';
import { httpErrors } from './errors.ts';
import { DEFAULT_PRIORITY, type JobContext, jobPayload } from './job-payload.ts';
import { UNTRAINED_NOTICE } from './present-model.ts';
import type { GenerateRequest } from './schemas.ts';
import type { HttpLimits } from './services.ts';

/** What {@link makeGeneratePayload} works with. */
export type GenerateContext = JobContext & {
  /** The request's prompts, as they were read. */
  readonly reading: PromptReading;
  /** The one text came as a `description`. */
  readonly described?: true;
  readonly models: ModelRegistry;
  readonly random?: (bytes: number) => Uint8Array;
};

/** What a request asks for besides its texts. */
export type GenerateOptionsWithMetadata = Omit<GenerateRequest, 'prompts' | 'description'>;

const DEFAULT_DTYPE = 'bf16';

/**
 * The payload for a request whose fields have the right types. Errors: `model-not-found`, `model-not-chosen`,
 * `count-too-large`, `deadline-too-long`, `retention-too-long`, `metadata-too-large`, `links-unavailable`,
 * `gguf-unsupported`, `gguf-heads-unknown`, `request-invalid`, `options-conflict`, and those of the prompts.
 */
export function makeGeneratePayload(
  request: GenerateOptionsWithMetadata,
  context: GenerateContext,
): GeneratePayload {
  const { id, reading, models, limits, random = randomBytes } = context;
  const { prompts, source } = reading;
  const { count = 1, dtype = DEFAULT_DTYPE, format, keep, transform } = request;
  checkCount(request, limits);
  const common = jobPayload(request, context);
  const { described } = context;
  checkPrompts(prompts, limits, (index) => (described ? '/description' : `/prompts/${index}`));
  const { manifest, digest } = chooseBundle(request.model, models);
  if (described) checkDescribed(manifest.family);
  checkTransform(request, manifest.layout);
  checkDeploy(request.deploy, context, {
    base: manifest.base.id,
    rank: plannedRank(manifest.layout.rank * (keep === 'mean' ? count : 1), transform),
    gguf: format === 'gguf',
  });
  if (format === 'gguf') checkGgufTarget(targetOfBase(manifest.base), manifest.layout.modules);
  const seed = request.seed ?? Buffer.from(random(4)).readUInt32LE();
  const draw = drawForModel(manifest, {
    given: prompts,
    count,
    seed,
    strict: request.strictPrompts ?? false,
  });
  const kept = keep ? 1 : count;
  return {
    ...common,
    model: manifest.id,
    bundleDigest: digest,
    prompts: draw.prompts,
    draws: draw.draws,
    promptSource: source,
    adapterIds: kept === 1 ? [id] : Array.from({ length: kept }, (_, index) => `${id}--${index}`),
    ...(keep && { keep }),
    ...(transform && { transform }),
    // Counted on after the adapters, so that no id is there twice.
    ...((keep || transform) && {
      sampleIds: draw.draws.map((_, index) => `${id}--${kept === 1 ? index : kept + index}`),
    }),
    seed,
    dtype,
    ...(format === 'gguf' && { format }),
    warnings: [...reading.warnings, ...draw.warnings, ...(manifest.trained ? [] : [UNTRAINED_NOTICE])],
    fingerprint: fingerprintOf(request, prompts),
  };
}

/** Refuses a description for a model that takes prompts. Errors: `options-conflict`. */
export function checkDescribed(family: BundleManifest['family']): void {
  if (family === 't2l') return;
  throw httpErrors.optionsConflict('The model takes prompts of a task, not a description of it.', {
    fields: [{ pointer: '/description', message: 'goes with a model that takes a description' }],
  });
}

export function checkCount({ count = 1, keep }: GenerateOptionsWithMetadata, { maxCount }: HttpLimits): void {
  if (count > maxCount) {
    throw httpErrors.countTooLarge(`At most ${maxCount} adapters are made from one request.`, {
      fields: [{ pointer: '/count', message: `must be at most ${maxCount}` }],
    });
  }
  if (keep && count < 2) {
    throw httpErrors.optionsConflict('One sample is kept as it is: `keep` takes a `count` of 2 or more.', {
      fields: [{ pointer: '/count', message: 'must be at least 2 with keep' }],
    });
  }
}

/** Refuses steps that the model's adapters cannot take. Errors: `transform-unfit`. */
function checkTransform(
  { count = 1, keep, transform }: GenerateOptionsWithMetadata,
  layout: LoraLayout,
): void {
  const { rank, layers, modules } = layout;
  if (keep === 'mean' && count * rank > MAX_SUM_RANK) {
    throw arithmeticErrors.unfit(
      `The mean of ${count} samples of rank ${rank} is worked out at rank ${count * rank}; ${MAX_SUM_RANK} is the limit.`,
      { fields: [{ pointer: '/count', message: `must be at most ${Math.floor(MAX_SUM_RANK / rank)} here` }] },
    );
  }
  if (transform) checkSteps(transform, { rank, modules: layers * modules.length });
}

/**
 * A digest of what the client asked for. A seed that was left out stays left out, so that repeating such a request under
 * its id is a repeat, although each time another seed would be drawn; the same holds for the default model.
 */
function fingerprintOf(request: GenerateOptionsWithMetadata, prompts: readonly string[]): string {
  const {
    count = 1,
    dtype = DEFAULT_DTYPE,
    format = 'safetensors',
    priority = DEFAULT_PRIORITY,
    strictPrompts = false,
    setName = false,
    ...rest
  } = request;
  return sha256Json({
    ...rest,
    prompts,
    count,
    dtype,
    priority,
    // Left out where they are the default, so that requests of older versions keep their digest.
    ...(format === 'gguf' && { format }),
    ...(strictPrompts && { strictPrompts }),
    ...(setName && { setName }),
  });
}

/** The model that a request names, else the default one. Errors: `model-not-found`, `model-not-chosen`. */
export function chooseBundle(model: string | undefined, models: ModelRegistry): Bundle {
  if (model !== undefined) return models.get(model);
  const bundle = models.default();
  if (!bundle) {
    throw httpErrors.modelNotChosen(
      models.list().length === 0
        ? 'There is no model at all.'
        : 'There are several models, and none is the default.',
      { fields: [{ pointer: '/model', message: 'is missing' }] },
    );
  }
  return bundle;
}

/** A generation request → the job's payload: limits checked, prompts drawn, everything decided that a retry must not redo. */
import { randomBytes } from 'node:crypto';
import { checkGgufTarget } from '../adapter/gguf-architecture.ts';
import { sha256Json } from '../base/digest.ts';
import type { FieldError } from '../base/errors.ts';
import type { Destination, GeneratePayload, Webhook } from '../jobs/catalog.ts';
import type { Bundle } from '../models/bundle.ts';
import { targetOfBase } from '../models/gguf-target.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { checkPrompts, tooMany } from '../prompts/check-prompts.ts';
import { drawPrompts } from '../prompts/draw-prompts.ts';
import type { PromptReading } from '../prompts/read-unpacked.ts';
import { refuseDestinationType } from './destination-request.ts';
import { httpErrors } from './errors.ts';
import { UNTRAINED_NOTICE } from './present-model.ts';
import { type GenerateRequest, METADATA_LIMITS } from './schemas.ts';
import type { HttpLimits } from './services.ts';
import { refuseEvents } from './webhook-request.ts';

/** What {@link makeGeneratePayload} works with. */
export type GenerateContext = {
  /** The request's prompts, as they were read. */
  readonly reading: PromptReading;
  /** The job's id. */
  readonly id: string;
  readonly models: ModelRegistry;
  readonly limits: HttpLimits;
  readonly requestId: string;
  /** Who is told of the job. */
  readonly webhooks?: readonly Webhook[];
  /** Where the adapters are copied. */
  readonly destination?: Destination;
  readonly now?: () => number;
  readonly random?: (bytes: number) => Uint8Array;
};

/** What a request asks for besides its prompts. */
export type GenerateOptionsWithMetadata = Omit<GenerateRequest, 'prompts'>;

const DEFAULT_DTYPE = 'bf16';
const DEFAULT_PRIORITY = 5;

/**
 * The payload for a request whose fields have the right types. Errors: `model-not-found`, `model-not-chosen`,
 * `count-too-large`, `deadline-too-long`, `retention-too-long`, `metadata-too-large`, `gguf-unsupported`,
 * `gguf-heads-unknown`, `request-invalid`, and those of the prompts.
 */
export function makeGeneratePayload(
  request: GenerateOptionsWithMetadata,
  context: GenerateContext,
): GeneratePayload {
  const {
    id,
    reading,
    models,
    limits,
    requestId,
    webhooks = [],
    destination,
    now = Date.now,
    random = randomBytes,
  } = context;
  const { prompts, source } = reading;
  checkOptions(request, limits);
  checkPrompts(prompts, limits, (index) => `/prompts/${index}`);
  const { manifest, digest } = chooseBundle(request.model, models);
  const { count = 1, dtype = DEFAULT_DTYPE, format, priority = DEFAULT_PRIORITY, name, metadata } = request;
  if (format === 'gguf') checkGgufTarget(targetOfBase(manifest.base), manifest.layout.modules);
  const seed = request.seed ?? Buffer.from(random(4)).readUInt32LE();
  const draw = drawPrompts({
    given: prompts,
    wanted: manifest.condition.prompts,
    count,
    seed,
    strict: request.strictPrompts ?? false,
  });
  const acceptedAt = now();
  return {
    model: manifest.id,
    bundleDigest: digest,
    prompts: draw.prompts,
    draws: draw.draws,
    promptSource: source,
    adapterIds: count === 1 ? [id] : Array.from({ length: count }, (_, index) => `${id}--${index}`),
    seed,
    dtype,
    ...(format === 'gguf' && { format }),
    ...(name !== undefined && { name }),
    ...(metadata && { metadata }),
    warnings: [...reading.warnings, ...draw.warnings, ...(manifest.trained ? [] : [UNTRAINED_NOTICE])],
    acceptedAt,
    ...(request.deadlineSeconds !== undefined && { deadlineAt: acceptedAt + request.deadlineSeconds * 1000 }),
    retentionSeconds: request.retentionSeconds ?? limits.defaultRetentionSeconds,
    priority,
    fingerprint: fingerprintOf(request, prompts),
    requestId,
    ...(webhooks.length > 0 && { webhooks: [...webhooks] }),
    ...(destination && { destination }),
  };
}

/** Fields a body may have before they are told by name: more than there are options, too few to be costly. */
const MAX_FIELDS = 64;

/**
 * Refuses a body that has too many of something, whatever their types: ahead of the schema, which would look at each of a
 * million prompts or fields. Errors: `too-many-prompts`, `metadata-too-large`, `field-unknown`, `webhook-events-invalid`,
 * `destination-invalid`.
 */
export function refuseOversized(body: unknown, limits: HttpLimits): void {
  if (body instanceof Uint8Array) return;
  if (hasMoreFields(body, MAX_FIELDS))
    throw httpErrors.fieldUnknown('The body has more fields than there are.');
  const { prompts, metadata, webhook, destination } = Object(body) as Record<string, unknown>;
  refuseEvents(webhook);
  refuseDestinationType(destination);
  if (Array.isArray(prompts) && prompts.length > limits.maxPrompts) throw tooMany(limits);
  if (hasMoreFields(metadata, METADATA_LIMITS.entries)) throw metadataTooLarge();
}

function hasMoreFields(value: unknown, most: number): boolean {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  let count = 0;
  for (const _name in value) {
    count += 1;
    if (count > most) return true;
  }
  return false;
}

function metadataTooLarge() {
  const { entries, keyChars, valueChars } = METADATA_LIMITS;
  return httpErrors.metadataTooLarge(
    `At most ${entries} entries are kept, with keys of ${keyChars} and values of ${valueChars} characters.`,
    { fields: [{ pointer: '/metadata', message: 'is too large' }] },
  );
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
  });
}

function chooseBundle(model: string | undefined, models: ModelRegistry): Bundle {
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

function checkOptions(request: GenerateOptionsWithMetadata, limits: HttpLimits): void {
  const { count = 1, deadlineSeconds = 0, retentionSeconds = 0, name = '', metadata = {} } = request;
  const field = (pointer: string, message: string) => ({ fields: [{ pointer, message }] });
  if (count > limits.maxCount) {
    throw httpErrors.countTooLarge(
      `At most ${limits.maxCount} adapters are made from one request.`,
      field('/count', `must be at most ${limits.maxCount}`),
    );
  }
  if (deadlineSeconds > limits.maxDeadlineSeconds) {
    throw httpErrors.deadlineTooLong(
      `A deadline is at most ${limits.maxDeadlineSeconds} seconds away.`,
      field('/deadlineSeconds', `must be at most ${limits.maxDeadlineSeconds}`),
    );
  }
  if (retentionSeconds > limits.maxRetentionSeconds) {
    throw httpErrors.retentionTooLong(
      `Adapters are kept for at most ${limits.maxRetentionSeconds} seconds.`,
      field('/retentionSeconds', `must be at most ${limits.maxRetentionSeconds}`),
    );
  }
  const entries = Object.entries(metadata);
  const { keyChars, valueChars } = METADATA_LIMITS;
  if (
    entries.length > METADATA_LIMITS.entries ||
    entries.some(([key, value]) => key.length > keyChars || value.length > valueChars)
  ) {
    throw metadataTooLarge();
  }
  const broken: FieldError[] = [];
  if (!name.isWellFormed()) broken.push({ pointer: '/name', message: 'has half a surrogate pair' });
  if (entries.some((entry) => !entry.join('').isWellFormed() || /\p{Cc}/u.test(entry[0]))) {
    broken.push({
      pointer: '/metadata',
      message: 'has half a surrogate pair or a control character in a key',
    });
  }
  if (broken.length > 0) throw httpErrors.requestInvalid('A text is not well-formed.', { fields: broken });
}

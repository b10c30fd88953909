/** What all requests that make adapters have in common → that part of their job's payload, with its limits checked. */
import type { FastifyRequest } from 'fastify';
import type { FieldError } from '../base/errors.ts';
import { isName } from '../base/ids.ts';
import type { Destination, GeneratePayload, Webhook } from '../jobs/catalog.ts';
import { tooMany } from '../prompts/check-prompts.ts';
import type { Target } from '../serving/targets.ts';
import type { AdapterLinks } from './adapter-links.ts';
import { destinationOf, refuseDestinationType } from './destination-request.ts';
import { httpErrors } from './errors.ts';
import { type GenerateRequest, METADATA_LIMITS, type TransformRequest } from './schemas.ts';
import type { HttpLimits, HttpServices } from './services.ts';
import { refuseEvents, webhooksOf } from './webhook-request.ts';

/** Options that every request has which makes adapters. */
export type JobOptions = Pick<
  GenerateRequest & TransformRequest,
  | 'name'
  | 'setName'
  | 'priority'
  | 'deadlineSeconds'
  | 'retentionSeconds'
  | 'presign'
  | 'metadata'
  | 'webhook'
  | 'destination'
  | 'deploy'
> &
  Partial<Pick<GenerateRequest, 'count' | 'keep'>>;

/** What a job is made with beside its request. */
export type JobContext = {
  /** The job's id. */
  readonly id: string;
  readonly limits: HttpLimits;
  readonly requestId: string;
  /** Which links there are for jobs that want some. */
  readonly links: Pick<AdapterLinks, 'available' | 'byDefault'>;
  /** Who is told of the job. */
  readonly webhooks?: readonly Webhook[];
  /** Where the adapters are copied. */
  readonly destination?: Destination;
  readonly tenant: string;
  /** Groups of model servers that adapters may be handed over to. */
  readonly targets: readonly Target[];
  readonly now?: () => number;
};

/** The priority of requests that name none. */
export const DEFAULT_PRIORITY = 5;

/** Looks up what a request asks for beside its adapters. Errors: those of webhooks and destinations. */
export async function jobContext(
  services: HttpServices,
  { id, wanted, request }: { id: string; wanted: JobOptions; request: FastifyRequest },
): Promise<JobContext> {
  const { limits, links, now } = services;
  const { tenant } = request.caller;
  const destination = destinationOf(wanted, services.destinations, tenant);
  return {
    id,
    limits,
    links,
    tenant,
    targets: services.targets,
    requestId: request.id,
    webhooks: await webhooksOf(wanted, services.webhooks, tenant),
    ...(destination && { destination }),
    ...(now && { now }),
  };
}

/**
 * The common part. Errors: `deadline-too-long`, `retention-too-long`, `metadata-too-large`, `links-unavailable`,
 * `options-conflict`, `request-invalid`.
 */
export function jobPayload(request: JobOptions, context: JobContext) {
  const { limits, requestId, links, webhooks = [], destination, now = Date.now } = context;
  checkJobOptions(request, limits);
  const { name, metadata, deadlineSeconds, priority = DEFAULT_PRIORITY } = request;
  const acceptedAt = now();
  return {
    ...(name !== undefined && { name }),
    ...(request.setName && name !== undefined && { setName: name }),
    ...(metadata && { metadata }),
    acceptedAt,
    ...(deadlineSeconds !== undefined && { deadlineAt: acceptedAt + deadlineSeconds * 1000 }),
    retentionSeconds: request.retentionSeconds ?? limits.defaultRetentionSeconds,
    priority,
    requestId,
    ...(wantsLinks(request.presign, links) && { presign: true as const }),
    ...(webhooks.length > 0 && { webhooks: [...webhooks] }),
    ...(destination && { destination }),
    ...(request.deploy && request.deploy.length > 0 && { deploy: request.deploy }),
  } satisfies Partial<GeneratePayload>;
}

/** Whether there are to be links, as asked for or by default. Errors: `links-unavailable`. */
export function wantsLinks(
  presign: boolean | undefined,
  { available, byDefault }: JobContext['links'],
): boolean {
  const wanted = presign ?? byDefault;
  if (wanted && !available) {
    throw httpErrors.linksUnavailable('It has no secret to sign links with, and its store gives none out.', {
      fields: [{ pointer: '/presign', message: 'cannot be true here' }],
    });
  }
  return wanted;
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
 * Checks what the schema does not: bounds that are settings, and options that do not go together. Errors: `deadline-too-long`,
 * `retention-too-long`, `metadata-too-large`, `options-conflict`, `request-invalid`.
 */
export function checkJobOptions(request: JobOptions, limits: HttpLimits): void {
  const { count = 1, keep, deadlineSeconds = 0, retentionSeconds = 0, name = '', metadata = {} } = request;
  const field = (pointer: string, message: string) => ({ fields: [{ pointer, message }] });
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
  const conflicts: FieldError[] = [];
  if (request.setName && !isName(name)) {
    conflicts.push({ pointer: '/name', message: 'is no name that can be set, as in PUT /names/{name}' });
  }
  if (request.setName && count > 1 && !keep) {
    conflicts.push({ pointer: '/setName', message: 'goes with one adapter alone' });
  }
  if (request.deploy?.some((each) => each.name !== undefined) && count > 1 && !keep) {
    conflicts.push({ pointer: '/deploy', message: 'has a name, which goes with one adapter alone' });
  }
  if (conflicts.length > 0) {
    throw httpErrors.optionsConflict('`setName`, or a `name` in `deploy`, does not go with these.', {
      fields: conflicts,
    });
  }
  const broken: FieldError[] = [];
  if (!name.isWellFormed()) broken.push({ pointer: '/name', message: 'has half a surrogate pair' });
  if (entries.some((entry) => !entry.join('').isWellFormed() || /\p{Cc}/u.test(entry[0]))) {
    broken.push({
      pointer: '/metadata',
      message: 'has half a surrogate pair or a control character in a key',
    });
  }
  if (broken.length > 0) throw httpErrors.requestInvalid('A field does not fit.', { fields: broken });
}

/** A job's record → what clients see of it. */
import { sha256 } from '../base/digest.ts';
import { type Copy, copyToCome } from '../jobs/copies.ts';
import { requestWebhook } from '../jobs/deliveries.ts';
import type { JobDeployment } from '../jobs/deployments.ts';
import type { GenerateRecord, JobTimings } from '../jobs/generate-queue.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { copyLocation } from '../store/destination-rules.ts';
import type { TenantStore } from '../store/store.ts';
import { shownUrl } from '../webhooks/shown-url.ts';
import type { LinksById } from './adapter-links.ts';
import { adapterUrl, jobDeliveriesUrl, jobEventsUrl, jobUrl } from './links.ts';
import { presentLinks, sharedLocation } from './present-adapter.ts';
import { presentJobDeployment } from './present-deployment.ts';
import { problemOf } from './problem.ts';
import type { Job, JobProgressView } from './schemas.ts';

/** What jobs are shown with. */
export type JobSources = {
  readonly models: ModelRegistry;
  readonly store: { of(tenant: string): Pick<TenantStore, 'location'> };
};

const NO_LINKS: LinksById = new Map();
const isoTime = (ms: number) => new Date(ms).toISOString();
/** Sums of floating-point shares look like 0.8999999999999999. */
const inPerMille = (fraction: number) => Math.round(fraction * 1000) / 1000;

function inWholeMs(timings: JobTimings): JobTimings {
  const rounded = Object.entries(timings).map(([stage, ms]) => [stage, Math.round(ms)]);
  return Object.fromEntries(rounded) as JobTimings;
}

/** The adapters of a job: the promised ids, and what is known of those that were made. */
function presentAdapters(
  { tenant, payload, result }: GenerateRecord,
  { store, digests, links }: { store: JobSources['store']; digests: boolean; links: LinksById },
): Job['adapters'] {
  const digestOf = digests ? payload.prompts.map((prompt) => sha256(prompt)) : [];
  // What one is kept of may come from any of the draws.
  const promised = (adapter: number) =>
    (payload.keep ? payload.draws.flat() : payload.draws[adapter]!).map((prompt) => digestOf[prompt]!);
  return payload.adapterIds.map((id, adapter) => {
    const made = result?.adapters[adapter];
    const location = made && sharedLocation(store.of(tenant).location(id));
    const linked = links.get(id);
    return {
      id,
      url: adapterUrl(id),
      ...(digests && { promptDigests: made ? [...made.promptDigests] : promised(adapter) }),
      ...(made && {
        bytes: made.bytes,
        sha256: made.sha256,
        tensors: made.tensors,
        parameters: made.parameters,
        fromStore: made.fromStore,
        ...(location !== undefined && { location }),
      }),
      ...(linked && { links: presentLinks(linked) }),
    };
  });
}

/** What became of a job's destination. */
function presentDestination({ payload, status }: GenerateRecord, copy: Copy | undefined): Job['destination'] {
  const { destination, adapterIds } = payload;
  if (!destination || !copy) return undefined;
  const { state, attempts, lastAt, nextAt, endedAt, failure } = copy;
  return {
    ...destination,
    state,
    location: copyLocation(destination, adapterIds[0]!),
    attempts,
    ...(lastAt !== undefined && { lastAttemptAt: isoTime(lastAt) }),
    ...(nextAt !== undefined && { nextAttemptAt: isoTime(nextAt) }),
    ...(state === 'delivered' && endedAt !== undefined && { deliveredAt: isoTime(endedAt) }),
    ...(failure && status === 'succeeded' && { error: problemOf(failure) }),
  };
}

/**
 * The job as clients see it. `digests: false` leaves the prompts' digests out, for listings; without `copy` its destination
 * is shown as it was before there was one.
 */
export function presentJob(
  record: GenerateRecord,
  options: JobSources & {
    copy?: Copy | undefined;
    deployments?: readonly JobDeployment[] | undefined;
    digests?: boolean;
    links?: LinksById;
  },
): Job {
  const { models, store, copy, deployments, digests = true, links = NO_LINKS } = options;
  const { id, payload, progress, result, failure } = record;
  const webhook = payload.webhooks?.[requestWebhook(payload.webhooks)];
  const destination = presentDestination(record, copy ?? copyToCome(record));
  const adapters = presentAdapters(record, { store, digests, links });
  const location = adapters[0]?.location;
  const bundle = models.withDigest(payload.bundleDigest);
  return {
    id,
    status: record.status,
    stage: progress.stage,
    fraction: inPerMille(progress.fraction),
    ...(record.position !== undefined && { position: record.position }),
    attempts: record.attempts,
    model: payload.model,
    bundleDigest: payload.bundleDigest,
    ...(bundle && { trained: bundle.manifest.trained }),
    dtype: payload.dtype,
    format: payload.format ?? 'safetensors',
    seed: payload.seed,
    count: payload.keep ? payload.draws.length : payload.adapterIds.length,
    ...(payload.sources && {
      sources: payload.sources.map(({ id: adapter, weight }) => ({
        adapter,
        weight,
        url: adapterUrl(adapter),
      })),
    }),
    ...(payload.keep && { keep: payload.keep }),
    ...(payload.transform && { transform: payload.transform }),
    ...(payload.promptSource && { promptSource: payload.promptSource }),
    priority: payload.priority,
    ...(payload.name !== undefined && { name: payload.name }),
    ...(payload.setName !== undefined && { setName: true }),
    ...(payload.metadata && { metadata: payload.metadata }),
    ...(webhook && { webhook: { url: shownUrl(webhook.url), events: webhook.events } }),
    ...(destination && { destination }),
    ...(payload.deploy &&
      deployments && { deployments: deployments.map((each) => presentJobDeployment(each, record.status)) }),
    ...(payload.presign && { presign: true }),
    warnings: payload.warnings,
    acceptedAt: isoTime(payload.acceptedAt),
    ...(record.startedAt !== undefined && { startedAt: isoTime(record.startedAt) }),
    ...(record.finishedAt !== undefined && { finishedAt: isoTime(record.finishedAt) }),
    ...(payload.deadlineAt !== undefined && { deadlineAt: isoTime(payload.deadlineAt) }),
    retentionSeconds: payload.retentionSeconds,
    ...(result && {
      device: result.device,
      timings: inWholeMs(result.timings),
      promptsEncoded: result.promptsEncoded,
      promptsCached: result.promptsCached,
    }),
    ...(location !== undefined && { location }),
    adapters,
    ...(failure && { error: problemOf(failure) }),
    urls: {
      self: jobUrl(id),
      events: jobEventsUrl(id),
      cancel: jobUrl(id),
      ...(webhook && { deliveries: jobDeliveriesUrl(id) }),
      adapter: links.get(payload.adapterIds[0]!)?.weights ?? adapterUrl(payload.adapterIds[0]!),
    },
  };
}

/** The short form for progress events. */
export function presentProgress(record: GenerateRecord): JobProgressView {
  return {
    id: record.id,
    status: record.status,
    stage: record.progress.stage,
    fraction: inPerMille(record.progress.fraction),
    adapter: record.progress.adapter,
    attempts: record.attempts,
    ...(record.position !== undefined && { position: record.position }),
  };
}

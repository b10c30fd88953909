/** A job's record → what clients see of it. */
import { sha256 } from '../base/digest.ts';
import { requestWebhook } from '../jobs/deliveries.ts';
import type { GenerateRecord, JobTimings } from '../jobs/generate-queue.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { shownUrl } from '../webhooks/shown-url.ts';
import { adapterUrl, jobDeliveriesUrl, jobEventsUrl, jobUrl } from './links.ts';
import { problemOf } from './problem.ts';
import type { Job, JobProgressView } from './schemas.ts';

const isoTime = (ms: number) => new Date(ms).toISOString();
/** Sums of floating-point shares look like 0.8999999999999999. */
const inPerMille = (fraction: number) => Math.round(fraction * 1000) / 1000;

function inWholeMs(timings: JobTimings): JobTimings {
  const rounded = Object.entries(timings).map(([stage, ms]) => [stage, Math.round(ms)]);
  return Object.fromEntries(rounded) as JobTimings;
}

/** The adapters of a job: the promised ids, and what is known of those that were made. */
function presentAdapters({ payload, result }: GenerateRecord, digests: boolean): Job['adapters'] {
  const digestOf = digests ? payload.prompts.map((prompt) => sha256(prompt)) : [];
  return payload.adapterIds.map((id, adapter) => {
    const made = result?.adapters[adapter];
    return {
      id,
      url: adapterUrl(id),
      ...(digests && { promptDigests: payload.draws[adapter]!.map((prompt) => digestOf[prompt]!) }),
      ...(made && {
        bytes: made.bytes,
        sha256: made.sha256,
        tensors: made.tensors,
        parameters: made.parameters,
        fromStore: made.fromStore,
      }),
    };
  });
}

/** The job as clients see it. `digests: false` leaves the prompts' digests out, for listings. */
export function presentJob(
  record: GenerateRecord,
  { models, digests = true }: { models: ModelRegistry; digests?: boolean },
): Job {
  const { id, payload, progress, result, failure } = record;
  const webhook = payload.webhooks?.[requestWebhook(payload.webhooks)];
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
    seed: payload.seed,
    count: payload.adapterIds.length,
    ...(payload.promptSource && { promptSource: payload.promptSource }),
    priority: payload.priority,
    ...(payload.name !== undefined && { name: payload.name }),
    ...(payload.metadata && { metadata: payload.metadata }),
    ...(webhook && { webhook: { url: shownUrl(webhook.url), events: webhook.events } }),
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
    adapters: presentAdapters(record, digests),
    ...(failure && { error: problemOf(failure) }),
    urls: {
      self: jobUrl(id),
      events: jobEventsUrl(id),
      cancel: jobUrl(id),
      ...(webhook && { deliveries: jobDeliveriesUrl(id) }),
      adapter: adapterUrl(payload.adapterIds[0]!),
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

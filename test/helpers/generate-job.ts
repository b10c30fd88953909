/** Jobs for tests of the queue. Imports no test runner, so that processes of a test can use it. */
import { randomBytes } from 'node:crypto';
import { DEFAULT_TENANT, newId } from '../../src/base/ids.ts';
import type { GeneratePayload } from '../../src/jobs/catalog.ts';
import {
  type GenerateQueue,
  type GenerateRecord,
  type GenerateResult,
  openGenerateQueue,
  type TenantGenerateQueue,
} from '../../src/jobs/generate-queue.ts';
import type { JobHandlers } from '../../src/jobs/workers.ts';
import { createLogger } from '../../src/observability/logger.ts';

/** Says nothing. */
export const logger = createLogger({ level: 'silent' });

/** Short times, so that a test sees in moments what a fleet sees in seconds. */
export const QUICK = { lockMs: 1500, stalledMs: 300, pollCancelMs: 50, letGoMs: 2000 };

/** Handlers of the jobs that a test is not about. */
export const idleHandlers: Omit<JobHandlers, 'generate'> = {
  webhook: async () => ({ outcome: 'delivered', attempts: 1, giveUpAt: 0 }),
  copy: async () => ({ outcome: 'delivered', attempts: 1, giveUpAt: 0, endedAt: 0 }),
  deploy: async () => ({ outcome: 'deployed', attempts: 0, replicas: [], endedAt: 0 }),
  validate: async () => ({ outcome: 'skipped', reason: 'The test is not about it.', endedAt: 0 }),
  reconcile: async () => ({ kicked: 0 }),
  notify: async () => ({ looked: 0 }),
  expire: async () => ({ adapters: 0, files: 0, records: 0 }),
};
/** Nothing that a job's webhooks could have left. */
export const noDeliveries = { removeAll: async () => {} };
/** No job of the test has a destination. */
export const noCopies = { remove: async () => {} };
/** No job of the test has a validation. */
export const noValidations = { follow: async () => undefined, remove: async () => {} };
/** Nobody has uploaded a file. */
export const noFiles = { expired: async () => [], of: () => ({}) as never };
/** No adapter of the test is on model servers. */
export const noDeployments = { follow: async () => true, takeBackAdapter: async () => {} };

/** A payload that the catalogue accepts. */
export function somePayload(changes: Partial<GeneratePayload> = {}): GeneratePayload {
  return {
    model: 'tiny',
    bundleDigest: 'd'.repeat(64),
    prompts: ['What is 2+2?', 'NUL \u0000, half a pair \ud800, ☃'],
    draws: [[0, 1]],
    adapterIds: [newId('ad')],
    seed: 1,
    dtype: 'bf16',
    warnings: [],
    acceptedAt: Date.now(),
    retentionSeconds: 3600,
    priority: 5,
    fingerprint: randomBytes(32).toString('hex'),
    ...changes,
  };
}

/** A result that says which job it belongs to. */
export function someResult(id: string): GenerateResult {
  return {
    adapters: [{ id, bytes: 1, sha256: 'a', tensors: 1, parameters: 1, promptDigests: [], fromStore: false }],
    timings: {
      queuedMs: 0,
      loadingMs: 0,
      batchingMs: 0,
      embeddingMs: 0,
      decodingMs: 0,
      writingMs: 0,
      totalMs: 1,
    },
    device: 'none',
    promptsEncoded: 0,
    promptsCached: 0,
  };
}

/** A queue of all tenants that is at the same time the default tenant's, which most tests are about. */
export type DefaultQueue = GenerateQueue & TenantGenerateQueue;

/** Opens a {@link DefaultQueue}. */
export async function openDefaultQueue(
  options: Parameters<typeof openGenerateQueue>[0],
): Promise<DefaultQueue> {
  const queue = await openGenerateQueue(options);
  return { ...queue.of(DEFAULT_TENANT), ...queue };
}

/** The first record of a job that satisfies the condition, as a watcher sees it. */
export async function watchUntil(
  queue: Pick<TenantGenerateQueue, 'watch'>,
  id: string,
  condition: (record: GenerateRecord) => boolean,
): Promise<GenerateRecord> {
  for await (const record of queue.watch(id, { signal: AbortSignal.timeout(30_000) })) {
    if (condition(record)) return record;
  }
  throw new Error(`${id} ended without reaching the wanted state`);
}

/** One run of a generation job: whose it is, how far it is, and what it adds up to. */
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import type { Engine } from '../inference/engine.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import { fileOf } from '../store/file-of.ts';
import type { AdapterStore, StoredAdapter, TenantStore } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import type { GeneratePayload } from './catalog.ts';
import { COPY_SOURCE_KEPT_MS } from './copies.ts';
import type { JobAdapter, JobTimings } from './generate-queue.ts';
import { type AdapterStage, adapterFraction } from './make-adapter.ts';
import { jobFields } from './observe-runs.ts';
import type { PatientDrafts } from './patient-drafts.ts';
import { storeOfRun } from './store-of-run.ts';
import type { JobContext } from './workers.ts';

/** What the pipeline works with. */
export type GenerateServices = {
  readonly engine: Pick<Engine, 'device' | 'infer' | 'load'>;
  readonly models: Pick<ModelRegistry, 'list' | 'withDigest'>;
  /** Other workers may take jobs of the same queue, and have other bundles. */
  readonly shared: boolean;
  readonly store: Pick<AdapterStore, 'of'>;
  /** Keeps adapters in memory until they are stored. */
  readonly drafts: PatientDrafts;
  /** Rejects while adapters cannot be stored: nothing is decoded then. */
  readonly storeReady: () => Promise<void>;
  readonly metrics: Pick<Metrics, 'adapterPublished' | 'prompts' | 'stageSeconds'>;
  readonly logger: Logger;
  /** Writes prompt text to the log, at debug level. */
  readonly logPrompts: boolean;
  readonly now?: () => number;
};

/** See the file's comment. */
export type GenerateRun = {
  readonly services: GenerateServices;
  readonly context: JobContext<'generate'>;
  /** With the ids of the job in every line. */
  readonly log: Logger;
  /** Of the job's tenant. */
  readonly store: TenantStore;
  /** What the adapters of the job add up to. */
  readonly tally: Tally;
  /** When an adapter that is published now was made, and how long it is kept. */
  times(): { readonly createdAt: number; readonly expiresAt: number };
  /** Tells how far the adapter at hand is. */
  report(stage: AdapterStage, fraction: number): void;
  /** Notes how long stages took, in milliseconds by their names. */
  noteStages(stages: Readonly<Record<string, number>>): void;
  /** The adapter at hand is done. */
  next(): void;
};

type Tally = {
  readonly timings: { -readonly [K in keyof JobTimings]: number };
  promptsEncoded: number;
  promptsCached: number;
};

/** Begins a run. */
export function createRun(services: GenerateServices, context: JobContext<'generate'>): GenerateRun {
  const { now = Date.now } = services;
  const { payload } = context;
  const { adapterIds, sampleIds = [] } = payload;
  // A transform of an adapter counts like its making, so that progress needs to know no times.
  const units = adapterIds.length + sampleIds.length;
  let done = 0;
  return {
    services,
    context,
    log: services.logger.child(jobFields(context)),
    store: services.shared
      ? storeOfRun(services.store.of(context.tenant), context.isOver)
      : services.store.of(context.tenant),
    tally: {
      timings: {
        queuedMs: now() - payload.acceptedAt,
        loadingMs: 0,
        batchingMs: 0,
        embeddingMs: 0,
        decodingMs: 0,
        writingMs: 0,
        totalMs: 0,
      },
      promptsEncoded: 0,
      promptsCached: 0,
    },
    times: () => ({ createdAt: now(), expiresAt: now() + keptMs(payload) }),
    report: (stage, fraction) =>
      context.report({
        stage,
        fraction: Math.min(1, (done + adapterFraction(stage, fraction)) / units),
        adapter: Math.min(done, adapterIds.length - 1),
      }),
    noteStages(stages) {
      const { metrics, engine } = services;
      const { model } = payload;
      for (const [stage, ms] of Object.entries(stages)) {
        metrics.stageSeconds.observe({ model, stage, device: engine.device.name }, ms / 1000);
      }
    },
    next: () => {
      done += 1;
    },
  };
}

/** How long an adapter is kept: as was asked for, and until its copy has been made or given up. */
function keptMs({ retentionSeconds, destination }: GeneratePayload): number {
  return Math.max(retentionSeconds * 1000, destination ? COPY_SOURCE_KEPT_MS : 0);
}

/** An adapter as its job tells of it. */
export function summary(stored: StoredAdapter, fromStore: boolean): JobAdapter {
  const info = stored.info as AdapterInfo;
  const weights = fileOf(stored, ADAPTER_WEIGHTS_FILE);
  return {
    id: stored.id,
    bytes: weights.bytes,
    sha256: weights.sha256,
    tensors: info.tensors,
    parameters: info.parameters,
    promptDigests: info.promptDigests,
    fromStore,
  };
}

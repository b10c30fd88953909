/** What is seen of micro-batches: how many requests they join, and where the time of each request goes. */
import type { Metrics } from '../observability/metrics.ts';
import { isSampled, type Span } from '../observability/tracing.ts';
import type { InferenceRequest } from './engine.ts';
import type { FromChildRecords } from './protocol.ts';

/** A request of a batch. */
export type BatchedRequest = {
  readonly request: InferenceRequest;
  /** By the process's own clock (`performance.now()`). */
  readonly arrivedAtMs: number;
  readonly span?: Span | undefined;
};

/** Sees the batches of one engine, of which one is under way at most. */
export type BatchObserver = {
  started(requests: readonly BatchedRequest[]): void;
  /** One of its requests is done. */
  decoded(request: BatchedRequest, decode: FromChildRecords['decoded']): void;
  /** The process is free again, or gone. */
  ended(error?: unknown): void;
};

/**
 * Makes a {@link BatchObserver}. The span of a batch belongs to the first request that is traced, and links to the other
 * requests it served; those of the requests' own stages lie in their own traces and link to the batch.
 */
export function createBatchObserver(metrics: Pick<Metrics, 'batchRequests'> | undefined): BatchObserver {
  let batch: Span | undefined;
  return {
    started(requests) {
      const model = requests[0]?.request.bundle.manifest.id ?? '';
      metrics?.batchRequests.observe({ model }, requests.length);
      const [first, ...others] = requests.flatMap(({ span }) =>
        span && isSampled(span.context) ? [span] : [],
      );
      batch = first?.child('batch', {
        links: others.map(({ context }) => context),
        attributes: { 'loradrop.batch.requests': requests.length, 'loradrop.model': model },
      });
    },
    decoded({ span, arrivedAtMs }, decode) {
      if (!span || !isSampled(span.context)) return;
      const arrivedAt = Date.now() - (performance.now() - arrivedAtMs);
      const { embeddingAt, decodingAt, embeddingMs, decodingMs, promptsCached, promptsEncoded } = decode;
      const links = batch ? [batch.context] : [];
      const stage = (name: string, startedAt: number, ms: number, attributes = {}) =>
        span.child(name, { startedAt, links, attributes }).end(startedAt + ms);
      stage('wait for batch', arrivedAt, Math.max(0, embeddingAt - arrivedAt));
      stage('embed prompts', embeddingAt, embeddingMs, {
        'loradrop.prompts.cached': promptsCached,
        'loradrop.prompts.encoded': promptsEncoded,
      });
      stage('decode', decodingAt, decodingMs);
    },
    ended(error) {
      if (error !== undefined) batch?.fail(error);
      batch?.end();
      batch = undefined;
    },
  };
}

import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';

/** What an engine is started with. */
export type EngineOptions = {
  /** `auto`, `cpu`, `cuda` or `cuda:N`. */
  readonly device: string;
  /** Threads for one operator; 0 or absent: as many as this process may keep busy. */
  readonly threads?: number;
  /** Tokens in one run of the encoder, and prompt tokens in a micro-batch of several requests. */
  readonly encodeTokenBudget: number;
  /** Longest a request waits for others of its bundle. */
  readonly batchWaitMs: number;
  /** Bytes of prompt embeddings the child keeps. */
  readonly promptCacheBytes: number;
  /** Bytes the process may take; 0 or absent: what the machine and its cgroup have left when a bundle is loaded. */
  readonly memoryLimitBytes?: number;
  /** How long canceled work may take to stop by itself before its process is killed. */
  readonly cancelGraceMs: number;
  /** Crashes in a row, none of them after the engine was ready, that end in the state `failed`. */
  readonly maxRestarts?: number;
  /** Wait before the second of such restarts; it doubles with each. The first comes at once. */
  readonly restartDelayMs?: number;
  /** Environment of the process: as a rule that of this one. */
  readonly environment: NodeJS.ProcessEnv;
  readonly logger: Logger;
  readonly metrics?: Pick<Metrics, 'batchRequests'>;
};

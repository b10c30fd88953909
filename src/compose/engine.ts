/** What computes: the engine of generators, and the chat with base models. */
import type { KeyRing } from '../access/key-ring.ts';
import { type Chat, openChat } from '../chat/chat.ts';
import { ownEnvironment } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { availableThreads } from '../inference/available-threads.ts';
import { createEngine } from '../inference/create-engine.ts';
import type { Engine } from '../inference/engine.ts';
import type { ModelRegistry } from '../models/registry.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import { basesDirectory } from './directories.ts';
import { knownBases } from './models.ts';

/** Starts the engine of generators. Errors: `device-unavailable`. */
export function startEngine(
  config: Config,
  { logger, metrics }: { logger: Logger; metrics: Metrics },
): Promise<Engine> {
  const { device, threads, encodeTokenBudget, batchWaitMs, promptCacheBytes } = config;
  const { memoryLimitBytes, cancelGraceMs } = config;
  return createEngine({
    device,
    threads,
    encodeTokenBudget,
    batchWaitMs,
    promptCacheBytes,
    memoryLimitBytes,
    cancelGraceMs,
    environment: ownEnvironment(),
    logger,
    metrics,
  });
}

/** Threads of one process of llama.cpp. */
export function chatThreads({ threads, chatThreads }: Config): number {
  return chatThreads || Math.max(1, Math.floor((threads || availableThreads()) / 2));
}

/** What asking base models needs of the service. */
type ChatParts = {
  readonly models: ModelRegistry;
  readonly keys: KeyRing | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
};

/** Opens the chat with base models. Where keys are needed, one tenant leaves another at least one place. */
export function openConfiguredChat(config: Config, { models, keys, metrics, logger }: ChatParts): Chat {
  const { chatConcurrency: concurrency, chatTenantConcurrency } = config;
  const shared = () => (keys?.guarded ? Math.max(1, concurrency - 1) : concurrency);
  return openChat({
    directory: basesDirectory(config),
    known: () => knownBases(models),
    threads: chatThreads(config),
    contextTokens: config.chatContextTokens,
    concurrency,
    tenantConcurrency: () => chatTenantConcurrency || shared(),
    idleMs: config.chatIdleSeconds * 1000,
    environment: ownEnvironment(),
    metrics,
    logger,
  });
}

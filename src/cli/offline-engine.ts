/** The engine of commands that make adapters without a server, and the settings that concern it. */
import { ownEnvironment } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { createEngine } from '../inference/create-engine.ts';
import type { Engine } from '../inference/engine.ts';
import { createLogger } from '../observability/logger.ts';

/** Settings that commands with {@link createOfflineEngine} and prompts take. */
export const OFFLINE_SETTINGS = [
  'device',
  'threads',
  'encodeTokenBudget',
  'promptCacheBytes',
  'memoryLimitBytes',
] as const;

/** Limits of requests that hold for files of prompts too; help does not show them, since they are a service's. */
export const READING_LIMITS = ['maxPrompts', 'maxPromptChars', 'maxBodyBytes'] as const;

/** An engine that waits for no further jobs. Errors: those of the engine. */
export function createOfflineEngine(config: Config): Promise<Engine> {
  return createEngine({
    device: config.device,
    threads: config.threads,
    encodeTokenBudget: config.encodeTokenBudget,
    batchWaitMs: 0,
    promptCacheBytes: config.promptCacheBytes,
    memoryLimitBytes: config.memoryLimitBytes,
    cancelGraceMs: 0,
    environment: ownEnvironment(),
    logger: createLogger({ level: 'error' }),
  });
}

import { ownEnvironment } from '../src/config/load.ts';
import { createEngine } from '../src/inference/create-engine.ts';
import { createLogger } from '../src/observability/logger.ts';
import { ENCODE_TOKEN_BUDGET } from './measured-model.ts';

/** An engine that takes one request at a time at once and remembers no prompts, unless it is told otherwise. */
export function openEngine(options: {
  readonly device: string;
  readonly threads?: number;
  readonly encodeTokenBudget?: number;
  readonly promptCacheBytes?: number;
  readonly logLevel?: 'error' | 'silent';
}) {
  const { logLevel = 'error', ...rest } = options;
  return createEngine({
    encodeTokenBudget: ENCODE_TOKEN_BUDGET,
    batchWaitMs: 0,
    promptCacheBytes: 0,
    cancelGraceMs: 0,
    environment: ownEnvironment(),
    logger: createLogger({ level: logLevel }),
    ...rest,
  });
}

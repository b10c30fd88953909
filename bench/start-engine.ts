/** From nothing to a ready engine, as a service starts: verify the bundle, start the inference process, load. */
import { ownEnvironment } from '../src/config/load.ts';
import { createEngine } from '../src/inference/create-engine.ts';
import { openBundle } from '../src/models/open.ts';
import { createLogger } from '../src/observability/logger.ts';
import { ENCODE_TOKEN_BUDGET } from './measured-model.ts';

/** What it tells its parent when the engine is ready. */
export type Started = { readonly verifyMs: number; readonly loadMs: number };

const [directory, device, threads] = process.argv.slice(2) as [string, string, string];
const startedAt = performance.now();
const bundle = await openBundle(directory);
const verifiedAt = performance.now();
const engine = await createEngine({
  device,
  threads: Number(threads),
  encodeTokenBudget: ENCODE_TOKEN_BUDGET,
  batchWaitMs: 0,
  promptCacheBytes: 0,
  cancelGraceMs: 0,
  environment: ownEnvironment(),
  logger: createLogger({ level: 'error' }),
});
try {
  await engine.load(bundle);
  process.send!({
    verifyMs: verifiedAt - startedAt,
    loadMs: performance.now() - verifiedAt,
  } satisfies Started);
} finally {
  await engine.close();
  process.disconnect();
}

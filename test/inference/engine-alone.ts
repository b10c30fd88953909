/** A process with an engine and nothing else: tells its parent the id of the engine's child, and waits to be killed. */
import { pino } from 'pino';
import { ownEnvironment } from '../../src/config/load.ts';
import { createEngine } from '../../src/inference/create-engine.ts';

await createEngine({
  device: 'cpu',
  encodeTokenBudget: 8192,
  batchWaitMs: 0,
  promptCacheBytes: 0,
  cancelGraceMs: 0,
  environment: ownEnvironment(),
  logger: pino({
    level: 'info',
    hooks: {
      streamWrite(line) {
        process.send!(JSON.parse(line).childPid);
        return '';
      },
    },
  }),
});

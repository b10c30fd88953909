/** Real engines for the tests of this room, and what the tests do with them. */
import { pino } from 'pino';
import { sha256 } from '../../src/base/digest.ts';
import { ownEnvironment } from '../../src/config/load.ts';
import { createEngine } from '../../src/inference/create-engine.ts';
import type { Engine, Inference, InferenceProgress } from '../../src/inference/engine.ts';
import type { EngineOptions } from '../../src/inference/engine-options.ts';
import type { Bundle } from '../../src/models/bundle.ts';

/** Starts an engine that is closed with the test; `pids` are those of its processes so far. */
export async function startEngine(t: Tap, options: Partial<EngineOptions> = {}) {
  const pids: number[] = [];
  const listeners: ((message: string, pid: number) => void)[] = [];
  const logger = pino(
    { level: 'debug' },
    {
      write(line: string) {
        const { msg, childPid } = JSON.parse(line) as { msg: string; childPid: number };
        if (msg === 'inference process started') pids.push(childPid);
        for (const listener of listeners) listener(msg, pids.at(-1)!);
      },
    },
  );
  const engine = await createEngine({
    device: 'cpu',
    encodeTokenBudget: 8192,
    batchWaitMs: 5,
    promptCacheBytes: 1 << 26,
    cancelGraceMs: 60_000,
    environment: ownEnvironment(),
    logger,
    ...options,
  });
  t.teardown(() => engine.close());
  /** Calls `act` with the process's id at every log line with this message. */
  const onLog = (message: string, act: (pid: number) => void) =>
    void listeners.push((msg, pid) => msg === message && act(pid));
  return { engine, pids, onLog };
}

type Tap = { teardown(run: () => Promise<unknown>): void };

/** The digest of everything an inference hands out. */
export async function digestOf(inference: Inference): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const piece of inference.pieces) parts.push(piece);
  return sha256(Buffer.concat(parts));
}

/** Runs one inference and reads all of it; returns the digest of the bytes. */
export const inferAll = async (
  engine: Engine,
  bundle: Bundle,
  prompts: readonly string[],
  options: { signal?: AbortSignal; onProgress?: (progress: InferenceProgress) => void } = {},
) => digestOf(await engine.infer({ bundle, prompts, dtype: 'bf16' }, options));

/** True while a process of that id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Calls `act` at the first progress that says the decoder is about to run. */
export const onceDecoding = (act: () => void) => {
  let done = false;
  return ({ stage }: InferenceProgress) => {
    if (stage !== 'decoding' || done) return;
    done = true;
    act();
  };
};

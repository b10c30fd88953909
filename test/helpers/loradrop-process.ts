/** Real `loradrop` processes for end-to-end tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { CHILD_ENVIRONMENT } from './child-environment.ts';
import { withEmptyCluster } from './embedded-data.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** A start takes three seconds, and more than a minute where many other tests share the machine. */
const START_TIMEOUT_MS = 180_000;

/** A running command. */
export type LoradropProcess = {
  readonly url: string;
  readonly child: ChildProcess;
  /** Everything it has printed so far. */
  output(): string;
  /** Sends the signal and waits for the end; answers the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>;
};

/** Starts `loradrop <command>` with these variables and waits until it is ready. Killed by the teardown, which a test does at its end. */
export async function startLoradrop(
  t: Pick<Test, 'teardown'>,
  command: 'start' | 'serve' | 'worker',
  environment: Readonly<Record<string, string>>,
): Promise<LoradropProcess> {
  const { DATA_DIR, QUEUE_URL } = environment;
  if (DATA_DIR !== undefined && QUEUE_URL === undefined) await withEmptyCluster(DATA_DIR);
  const child = spawn(process.execPath, [MAIN, command], {
    env: { ...CHILD_ENVIRONMENT, PORT: '0', LOG_LEVEL: 'info', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += chunk));
  child.stderr.on('data', (chunk) => (printed += chunk));
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let url = '';
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}:\n${printed}`);
    url = /Server listening at (http:[^"\s]+)/.exec(printed)?.[1] ?? '';
    return url !== '' && (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200;
  }, START_TIMEOUT_MS).catch((error) => {
    throw new Error(`${command} did not become ready:\n${printed}`, { cause: error });
  });
  return {
    url,
    child,
    output: () => printed,
    async end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

/** Waits until the condition holds; fails after `timeoutMs`. */
export async function until(condition: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('the condition did not come to hold in time');
    await delay(50);
  }
}

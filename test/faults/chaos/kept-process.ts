/** A `loradrop` process that is started again whenever it ends, as a fleet's supervisor would. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CHILD_ENVIRONMENT } from '../../helpers/child-environment.ts';
import { serverPort } from '../../helpers/services.ts';
import type { MemoryGroup } from './memory-group.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
/** A supervisor waits a little, so that a process that cannot start does not take the machine. */
const RESTART_PAUSE_MS = 250;
const LOOK_MS = 50;
/** What is told of the output of a process that ended by itself: a stack trace, and lines before it. */
const MAX_SAID_CHARS = 3000;
/** Of one look: a process on a machine that is very busy takes seconds to answer. */
const LOOK_TIMEOUT_MS = 30_000;

/** How a process ended that nobody wanted to end. */
export type UnexpectedEnd = {
  readonly name: string;
  readonly how: string;
  readonly at: number;
  /** The end of its output. */
  readonly said: string;
};

/** What a process holds, from `/proc`. */
export type Holdings = {
  readonly residentBytes: number;
  readonly handles: number;
  readonly children: number;
};

/** A process of the fleet. */
export type KeptProcess = {
  readonly name: string;
  readonly role: 'api' | 'worker';
  readonly url: string;
  /** False for one that lives through the whole run, so that what it leaks shows. */
  readonly mayBeKilled: boolean;
  /** Its clock can be set. */
  readonly hasOwnClock: boolean;
  /** The group that it is in with its children, and an empty one. */
  readonly memory: { readonly whole: MemoryGroup; readonly spare: MemoryGroup } | undefined;
  pid(): number;
  /** Process ids of its children: of a worker, the inference process. */
  children(): number[];
  holdings(): Holdings;
  /** Ends it; the next one starts by itself. */
  end(signal: NodeJS.Signals): Promise<void>;
  /** Resolves once the process that runs now, or the next one, is ready. */
  ready(): Promise<void>;
  /** Moves its clock by so many seconds against the machine's. */
  moveClock(seconds: number): void;
  /** The next end has a reason that a fault knows. */
  expectEnd(): void;
  /** Ends it for good. */
  stop(): Promise<void>;
};

/** Starts a process and keeps it running. Its output goes to a file of its name in `directory`. */
export async function keepProcess(options: {
  readonly name: string;
  readonly role: KeptProcess['role'];
  readonly mayBeKilled: boolean;
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where the library faketime lies, for a process with a clock of its own. */
  readonly clockLibrary?: string | undefined;
  readonly memory?: KeptProcess['memory'];
  readonly onUnexpectedEnd: (end: UnexpectedEnd) => void;
}): Promise<KeptProcess> {
  const { name, role, mayBeKilled, directory, clockLibrary, memory, onUnexpectedEnd } = options;
  const port = await serverPort();
  const url = `http://127.0.0.1:${port}`;
  const clockFile = join(directory, `${name}.clock`);
  const moveClock = (seconds: number) =>
    writeFileSync(clockFile, `${seconds < 0 ? '' : '+'}${seconds.toFixed(1)}\n`);
  moveClock(0);
  const environment = {
    ...CHILD_ENVIRONMENT,
    PORT: String(port),
    ORT_DISABLE_TELEMETRY: '1',
    ...options.environment,
    ...(clockLibrary && {
      LD_PRELOAD: clockLibrary,
      FAKETIME_TIMESTAMP_FILE: clockFile,
      FAKETIME_CACHE_DURATION: '1',
      // Wall-clock time jumps on real machines, monotonic time does not.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }),
  };
  let child: ChildProcess;
  let ended: Promise<unknown>;
  let isReady = false;
  let endIsExpected = false;
  let stopped = false;

  function launch(): void {
    const log = openSync(join(directory, `${name}.log`), 'a');
    child = spawn(process.execPath, [MAIN, role === 'api' ? 'serve' : 'worker'], {
      env: environment,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    memory?.whole.add(child.pid!);
    isReady = false;
    endIsExpected = false;
    const launched = child;
    ended = once(child, 'exit').then(([code, signal]) => {
      // One that cannot reach its queue ends at its start, and is started again.
      if (isReady && !endIsExpected && !stopped) {
        const said = readFileSync(join(directory, `${name}.log`), 'utf8').slice(-MAX_SAID_CHARS);
        onUnexpectedEnd({ name, how: String(signal ?? code), at: Date.now(), said });
      }
      isReady = false;
      if (!stopped) setTimeout(() => !stopped && launched === child && launch(), RESTART_PAUSE_MS);
    });
    void watchReadiness(launched);
  }

  async function watchReadiness(launched: ChildProcess): Promise<void> {
    while (!stopped && launched === child && launched.exitCode === null && launched.signalCode === null) {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(LOOK_TIMEOUT_MS) }).catch(
        () => undefined,
      );
      await answer?.body?.cancel();
      if (answer?.ok) {
        isReady = launched === child;
        return;
      }
      await delay(LOOK_MS);
    }
  }

  const pid = () => child.pid!;
  const children = () => childrenOf(pid());
  launch();
  return {
    name,
    role,
    url,
    mayBeKilled,
    hasOwnClock: clockLibrary !== undefined,
    memory,
    pid,
    children,
    holdings: () => ({
      residentBytes: residentBytesOf(pid()),
      handles: readdirSync(`/proc/${pid()}/fd`).length,
      children: children().length,
    }),
    async end(signal) {
      endIsExpected = true;
      child.kill(signal);
      await ended;
    },
    async ready() {
      while (!isReady) {
        if (stopped) throw new Error(`${name} was stopped`);
        await delay(LOOK_MS);
      }
    },
    moveClock,
    expectEnd() {
      endIsExpected = true;
    },
    async stop() {
      stopped = true;
      child.kill('SIGCONT');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Process ids of the children of a process; none of one that is gone. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

function residentBytesOf(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

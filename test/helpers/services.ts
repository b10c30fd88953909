/** Real servers for tests: where their programs are, and what a test does without them. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Test } from 'tap';
import { until } from './loradrop-process.ts';

/** A server that runs until it is stopped. */
export type TestServer = {
  /** What `QUEUE_URL` would be. */
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now, or ran last. */
  pid(): number;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again after {@link kill}, on the same files and port. */
  restart(): Promise<void>;
  /** Ends it and removes its files. Idempotent. */
  stop(): Promise<void>;
};

/** Where test/setup-services.ts puts programs that no package of Debian has. */
export const TOOLS_DIRECTORY = join(homedir(), '.cache', 'loradrop-tests');

/** SmolLM2-135M-Instruct as GGUF (98 MB), which the tests of the console ask. */
export const SMOLLM2 = join(TOOLS_DIRECTORY, 'bases', 'SmolLM2-135M-Instruct.Q4_1.gguf');

/** Python's client of OpenAI's API: what `PYTHONPATH` is, and a file of it. */
export const OPENAI_PYTHON = join(TOOLS_DIRECTORY, 'openai-client');
export const OPENAI_PYTHON_FILE = join(OPENAI_PYTHON, 'openai', '__init__.py');

/** Debian keeps PostgreSQL's server programs out of the path, a directory a version. */
const POSTGRES_ROOT = '/usr/lib/postgresql';

function directories(): string[] {
  let versions: string[] = [];
  try {
    versions = readdirSync(POSTGRES_ROOT).sort((a, b) => Number(b) - Number(a));
  } catch {
    // Not Debian, or not installed.
  }
  return [
    ...(process.env['PATH'] ?? '').split(delimiter),
    join(TOOLS_DIRECTORY, 'bin'),
    join(TOOLS_DIRECTORY, 'moto', 'bin'),
    join(TOOLS_DIRECTORY, 'hub-client', 'bin'),
    join(TOOLS_DIRECTORY, 'schemathesis', 'bin'),
    join(TOOLS_DIRECTORY, 'kubernetes', 'bin'),
    ...versions.map((version) => join(POSTGRES_ROOT, version, 'bin')),
  ];
}

/** Where a server program lies, or undefined. */
export function findProgram(name: string): string | undefined {
  return directories()
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A server that is needed is not installed. */
export class MissingProgram extends Error {}

/** Where a server program lies. Fails when it is missing, saying how to get it. */
export function requireProgram(name: string): string {
  const path = findProgram(name);
  if (!path) throw new MissingProgram(`${name} is not installed; npm run setup-services installs it.`);
  return path;
}

/**
 * Starts a server for a test, stopped at its end. Without the program the test is skipped, in a loud line, and undefined
 * comes back; in CI it fails.
 */
export async function startForTest<S extends { stop(): Promise<void> }>(
  t: Test,
  program: string,
  start: () => Promise<S>,
): Promise<S | undefined> {
  if (!findProgram(program)) {
    const reason = `${program} is not installed; run: node test/setup-services.ts`;
    if (process.env['CI']) t.fail(reason);
    else t.pass('a real server', { skip: `NOT TESTED: ${reason}` });
    return undefined;
  }
  const server = await start();
  t.teardown(() => server.stop());
  return server;
}

/** An account that servers run as; PostgreSQL refuses to be root. */
export type Account = { readonly uid: number; readonly gid: number };

/** The account of that name, or undefined. */
export function findAccount(name: string): Account | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout);
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

/** A directory of its own for a server's files. */
export function serverDirectory(name: string): Promise<string> {
  return mkdtemp(join(tmpdir(), `loradrop-${name}-`));
}

/**
 * Ports below those that systems hand out to connections, which could otherwise take one between its choice and its use.
 * A Redis Cluster node takes a second port ten thousand above, so the range ends where those begin.
 */
const PORTS = { from: 10_000, to: 20_000, secondAbove: 10_000 };

/** A port that no server uses, nor the one a Redis Cluster node would take beside it. */
export async function serverPort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    if ((await isFree(port)) && (await isFree(port + PORTS.secondAbove))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer().listen(port, '127.0.0.1');
  try {
    await once(probe, 'listening');
  } catch {
    return false;
  }
  probe.close();
  await once(probe, 'close');
  return true;
}

/**
 * Keeps one server process: starts it with `command`, waits until `answers`, and can end and start it again. `directory`
 * is removed in the end.
 */
export async function keepServer(options: {
  readonly url: string;
  readonly port: number;
  readonly directory: string;
  readonly command: readonly [program: string, ...args: string[]];
  readonly account?: Account | undefined;
  /** Variables beside those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly killSignal: NodeJS.Signals;
  readonly answers: () => Promise<boolean>;
}): Promise<TestServer> {
  const { url, port, directory, account, environment, killSignal, answers } = options;
  const [program, ...args] = options.command;
  let child: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  async function start(): Promise<void> {
    const started = spawn(program, args, {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
      ...account,
    });
    let printed = '';
    for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk) => (printed += chunk));
    child = started;
    ended = new Promise((resolve) => started.once('exit', resolve));
    await until(async () => {
      if (started.exitCode !== null)
        throw new Error(`${program} ended with ${started.exitCode}:\n${printed}`);
      return answers();
    }).catch((error: unknown) => {
      throw new Error(`${program} did not answer:\n${printed}`, { cause: error });
    });
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    child?.kill(signal);
    await ended;
  }
  const stop = async () => {
    await end(killSignal);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, port, pid: () => child!.pid!, kill: () => end(killSignal), restart: start, stop };
}

import { type ChildProcess, fork } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Longest line of a process's standard error that is logged; native libraries can print whole buffers. */
const MAX_LOG_LINE_CHARS = 2000;

/** Where lines of a process go. */
type Log = { debug(fields: object, message: string): void; warn(fields: object, message: string): void };

/** What a {@link ForkedProcess} is started with. */
export type ForkOptions<Heard> = {
  /** The module that it runs. */
  readonly entry: URL;
  /** What it is in the log: `inference process`. */
  readonly what: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly logger: Log;
  /** Which lines of its standard error are logged; all by default. */
  readonly isLogged?: (line: string) => boolean;
  readonly onMessage: (message: Heard) => void;
  /** A file of this process that the other one has open as {@link SHARED_DESCRIPTOR}. */
  readonly share?: number;
};

/** The descriptor that `share` has in the process; those before it are the standard ones and the channel. */
export const SHARED_DESCRIPTOR = 4;

/** A process of our own that does what must not end this one: native code may crash there, or hold its thread. */
export class ForkedProcess<Sent, Heard> {
  readonly #child: ChildProcess;
  /** Resolves when the process is gone, with how it ended: `exit code 1`, `SIGKILL`. */
  readonly exited: Promise<string>;

  /** Starts the process. Messages that are still under way when it ends are not delivered. */
  constructor(options: ForkOptions<Heard>) {
    const { entry, what, environment, logger, onMessage, isLogged = () => true, share } = options;
    const child = fork(entry, [], {
      // Structured clone carries typed arrays as bytes; JSON would carry them as text.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', ...(share === undefined ? [] : [share])],
      // The parent's own flags may open an inspector port or load test hooks.
      execArgv: [],
      env: environment,
    });
    this.#child = child;
    let running = true;
    child.on('message', (message) => {
      if (running) onMessage(message as Heard);
    });
    this.exited = new Promise((resolve) => {
      const end = (reason: string) => {
        running = false;
        resolve(reason);
      };
      child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      // Without a process there is no exit; a failed send to a dying one is followed by its exit.
      child.on('error', (error) => {
        logger.debug({ err: error }, what);
        if (child.pid === undefined) end('it could not be started');
      });
    });
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (isLogged(line)) logger.warn({ line: line.slice(0, MAX_LOG_LINE_CHARS) }, `${what} says`);
    });
  }

  /** Process id, or undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Sends a message; to a process that has ended it goes nowhere, and {@link exited} tells the rest. */
  send(message: Sent): void {
    if (this.#child.connected) this.#child.send(message as object, () => {});
  }

  /** Ends the process at once, whatever it is doing, and waits until it is gone. Idempotent. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

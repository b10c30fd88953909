/** The engine's hold on its child process. */
import { type ChildProcess, fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Logger } from '../observability/logger.ts';
import type { FromChild, ToChild } from './protocol.ts';

/** Longest line of the child's standard error that is logged; native libraries can print whole buffers. */
const MAX_LOG_LINE_CHARS = 2000;

/** A running child process of `child.ts`. */
export class InferenceProcess {
  readonly #child: ChildProcess;
  /** Resolves when the process is gone, with how it ended: `exit code 1`, `SIGKILL`. */
  readonly exited: Promise<string>;

  /** Starts the process. Messages that are still under way when it ends are not delivered. */
  constructor(options: { logger: Logger; onMessage: (message: FromChild) => void }) {
    const { logger, onMessage } = options;
    const child = fork(new URL('./child.ts', import.meta.url), [], {
      // Structured clone carries typed arrays as bytes; JSON would carry them as text.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // The parent's own flags may open an inspector port or load test hooks.
      execArgv: [],
    });
    this.#child = child;
    let running = true;
    child.on('message', (message) => {
      if (running) onMessage(message as FromChild);
    });
    this.exited = new Promise((resolve) => {
      const end = (reason: string) => {
        running = false;
        resolve(reason);
      };
      child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      // Without a process there is no exit; a failed send to a dying one is followed by its exit.
      child.on('error', (error) => {
        logger.debug({ err: error }, 'inference process');
        if (child.pid === undefined) end('it could not be started');
      });
    });
    createInterface({ input: child.stderr! }).on('line', (line) => {
      logger.warn({ line: line.slice(0, MAX_LOG_LINE_CHARS) }, 'inference process says');
    });
  }

  /** Process id, or undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Sends a message; to a process that has ended it goes nowhere, and {@link exited} tells the rest. */
  send(message: ToChild): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Ends the process at once, whatever it is doing, and waits until it is gone. Idempotent. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

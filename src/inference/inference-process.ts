/** The engine's hold on its child process. */
import { type ChildProcess, fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Logger } from '../observability/logger.ts';
import type { FromChild, ToChild } from './protocol.ts';

/** Longest line of the child's standard error that is logged; native libraries can print whole buffers. */
const MAX_LOG_LINE_CHARS = 2000;

/**
 * How glibc keeps memory: freed blocks of any size stay in the process and serve the next operator, whichever session runs it.
 * By default large ones go back to the system and come again page by page, and ONNX Runtime's own cure, an arena a session,
 * keeps the workspace of every stage at once. Measured with the published 0.5B decoder on spectra, the second decode: 12.4 s
 * of CPU and 15.1 GB at most with this; 14.9 s and 14.5 GB without; 15.5 s and 19.3 GB with arenas.
 */
const ALLOCATOR: Readonly<Record<string, string>> = {
  MALLOC_MMAP_MAX_: '0',
  MALLOC_TRIM_THRESHOLD_: String(2 ** 40),
};

/** A running child process of `child.ts`. */
export class InferenceProcess {
  readonly #child: ChildProcess;
  /** Resolves when the process is gone, with how it ended: `exit code 1`, `SIGKILL`. */
  readonly exited: Promise<string>;

  /** Starts the process. Messages that are still under way when it ends are not delivered. */
  constructor(options: {
    logger: Logger;
    environment: NodeJS.ProcessEnv;
    onMessage: (message: FromChild) => void;
  }) {
    const { logger, environment, onMessage } = options;
    const child = fork(new URL('./child.ts', import.meta.url), [], {
      // Structured clone carries typed arrays as bytes; JSON would carry them as text.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // The parent's own flags may open an inspector port or load test hooks.
      execArgv: [],
      env: { ...environment, ...ALLOCATOR },
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

/** The life of an engine's child process: it is started, replaced when it ends, and given up when it does not come up again. */
import type { Logger } from '../observability/logger.ts';
import type { WantedDevice } from './device.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { errorOf, failureOf } from './failure.ts';
import { InferenceProcess } from './inference-process.ts';
import type { Failure, FromChild, FromChildRecords, ToChild, ToChildRecords } from './protocol.ts';

/** More than a machine under pressure needs to recover, few enough to be told of within minutes. */
const MAX_RESTARTS = 6;
const RESTART_DELAY_MS = 250;
const MAX_RESTART_DELAY_MS = 30_000;

/** Options of a {@link Supervisor}. */
export type SupervisorOptions = {
  readonly device: WantedDevice;
  /** What every process is told first, besides the device. */
  readonly opening: Omit<ToChildRecords['open'], 'device'>;
  /** Descriptor of the file that every process writes adapters to. */
  readonly spool: number;
  /** Environment of the process. */
  readonly environment: NodeJS.ProcessEnv;
  readonly logger: Logger;
  /** Crashes in a row, none of them after the engine was ready, that end in the state `failed`. */
  readonly maxRestarts?: number | undefined;
  /** Wait before the second of such restarts; it doubles with each. The first comes at once. */
  readonly restartDelayMs?: number | undefined;
  /** Called with every message of the process, until {@link Supervisor.close}. */
  readonly onMessage: (message: FromChild) => void;
  /** The process is gone and will be replaced, or has been given up; `onPurpose` after {@link Supervisor.endProcess}. */
  readonly onLost: (loss: { readonly failure: Failure; readonly onPurpose: boolean }) => void;
  /** The process has been given up. Called after `onLost`. */
  readonly onFailed: (failure: Failure) => void;
};

/** Where the process is in its life. */
export type ProcessLife =
  /** The process has been started and has not said that it can take work. */
  | { readonly kind: 'opening'; readonly process: InferenceProcess }
  /** The process takes work. */
  | { readonly kind: 'open'; readonly process: InferenceProcess }
  /** The process took work and has been killed; another one takes its place when it is gone. */
  | { readonly kind: 'ending'; readonly process: InferenceProcess }
  /** The process is gone; the next one starts when the timer ends. */
  | { readonly kind: 'restarting'; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'closed' };

/** Bytes that the process said it has. */
type Memory = FromChildRecords['idle'];

const NO_MEMORY: Memory = { residentBytes: 0, peakResidentBytes: 0, promptCacheBytes: 0 };

/** Keeps one child process running. It owns the process; whoever made the supervisor closes it. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  /** Settles when the first process takes work, or cannot be used. */
  readonly #first = Promise.withResolvers<void>();
  #life: ProcessLife;
  /** What the first process found; later ones must use the same, since another would give other bytes. */
  #device: Device | undefined;
  #memory = NO_MEMORY;
  #restarts = 0;
  /** Unwanted ends of the process since the engine was last ready. */
  #crashes = 0;

  /** Starts the first process. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#life = this.#launch(options.device);
  }

  /** Resolves when the first process takes work. Errors: `device-unavailable`, `engine-lost`. */
  get started(): Promise<void> {
    return this.#first.promise;
  }

  /** Where the process is in its life. */
  get life(): ProcessLife {
    return this.#life;
  }

  /** The device that the processes use; there once {@link started} has resolved. */
  get device(): Device {
    return this.#device!;
  }

  /** Times the process was replaced, for whatever reason. */
  get restarts(): number {
    return this.#restarts;
  }

  /** What the process last said of its memory. */
  get memory(): Memory {
    return this.#memory;
  }

  /** Sends a message to the process; without one it goes nowhere. */
  send(message: ToChild): void {
    if ('process' in this.#life) this.#life.process.send(message);
  }

  /** The process has proven its device. */
  noteOpened({ device, fallback }: FromChildRecords['opened']): void {
    const { logger } = this.#options;
    if (fallback) {
      const { reason, expected } = fallback;
      logger[expected ? 'info' : 'warn']({ reason }, 'no CUDA device: running on the CPU');
    }
    logger.info({ device, childPid: this.#pid }, 'inference process started');
    this.#device = device;
  }

  /** The process cannot use the device, and ends. */
  noteRefused({ failure }: FromChildRecords['refused']): void {
    this.#options.logger.error({ reason: failure.detail }, 'the device cannot be used');
    this.#first.reject(errorOf(failure));
  }

  /** The process takes work. */
  noteIdle({ residentBytes, peakResidentBytes, promptCacheBytes }: FromChildRecords['idle']): void {
    this.#memory = { residentBytes, peakResidentBytes, promptCacheBytes };
    if (this.#life.kind === 'opening') this.#life = { ...this.#life, kind: 'open' };
    this.#first.resolve();
  }

  /** The engine has everything loaded that can be loaded: crashes up to now no longer count. */
  noteReady(): void {
    this.#crashes = 0;
  }

  /** Kills the process, whatever it is doing; another one takes its place. */
  endProcess(): void {
    if (!('process' in this.#life)) return;
    const { process } = this.#life;
    this.#options.logger.info({ childPid: process.pid }, 'canceled work did not stop: ending its process');
    this.#life = { kind: 'ending', process };
    void process.kill();
  }

  /** Ends the process, and waits until it is gone. */
  async close(): Promise<void> {
    const life = this.#life;
    this.#life = { kind: 'closed' };
    if (life.kind === 'restarting') clearTimeout(life.timer);
    if ('process' in life) await life.process.kill();
  }

  get #pid(): number | undefined {
    return 'process' in this.#life ? this.#life.process.pid : undefined;
  }

  #launch(device: WantedDevice): ProcessLife {
    const { logger, environment, opening, spool, onMessage } = this.#options;
    const process = new InferenceProcess({
      share: spool,
      logger,
      environment,
      onMessage: (message) => {
        if (this.#life.kind !== 'closed') onMessage(message);
      },
    });
    process.send({ type: 'open', device, ...opening });
    void process.exited.then((how) => this.#processEnded(how));
    return { kind: 'opening', process };
  }

  #processEnded(how: string): void {
    const onPurpose = this.#life.kind === 'ending';
    this.#memory = NO_MEMORY;
    if (this.#life.kind === 'closed') return;
    const { logger, onLost, onFailed } = this.#options;
    const lost = inferenceErrors.engineLost(`The inference process ended (${how}).`);
    if (!this.#device) {
      this.#life = { kind: 'failed', reason: lost.message };
      this.#first.reject(lost);
      return;
    }
    if (!onPurpose) {
      this.#crashes++;
      logger.error({ how, crashes: this.#crashes }, 'the inference process ended by itself');
    }
    this.#life = this.#lifeAfter(how, this.#device);
    onLost({ failure: failureOf(lost), onPurpose });
    if (this.#life.kind !== 'failed') return;
    const failed = inferenceErrors.engineLost(this.#life.reason);
    this.#first.reject(failed);
    onFailed(failureOf(failed));
  }

  /** What follows the end of a process: another one, at once or after a while, or the end of trying. */
  #lifeAfter(how: string, { provider, index = 0 }: Device): ProcessLife {
    const { logger, maxRestarts = MAX_RESTARTS, restartDelayMs = RESTART_DELAY_MS } = this.#options;
    const crashes = this.#crashes;
    if (crashes > maxRestarts) {
      const reason = `The inference process ended ${crashes} times in a row before it was ready (${how}).`;
      logger.fatal({ how }, reason);
      return { kind: 'failed', reason };
    }
    this.#restarts++;
    const delayMs = crashes < 2 ? 0 : Math.min(MAX_RESTART_DELAY_MS, restartDelayMs * 2 ** (crashes - 2));
    const timer = setTimeout(() => {
      this.#life = this.#launch({ provider, index, optional: false });
    }, delayMs);
    return { kind: 'restarting', timer };
  }
}

/** The service's hold on its chat process. */
import { constants, setPriority } from 'node:os';
import { LoradropError } from '../base/errors.ts';
import { ForkedProcess } from '../base/forked-process.ts';
import { evaluationErrors } from '../evaluation/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { chatErrors } from './errors.ts';
import type { AnswerEnd } from './held-answer.ts';
import type { Failure, FromChat, ToChat } from './protocol.ts';
import type { AnswerPart, ChatQuestion } from './question.ts';

/**
 * How long a question that was taken back may take to end. Reading a long prompt cannot be interrupted, so a process that is
 * in the middle of one, or hangs, is ended: its work would pile up behind the next questions.
 */
const TAKE_BACK_MS = 3000;

/**
 * Lines of the process's standard error that are logged: where GGML gave up, the type of a C++ exception, frames of a stack.
 * All others may hold a client's text: llama.cpp prints every grammar that it refuses.
 */
const LOGGED_LINE =
  /^(?:\S+\.(?:c|cc|cpp|cu|h|hpp|m):\d+: |terminate called after throwing an instance of '[\w:]+'$| {4}at .*(?:file:\/\/|node:)\S+:\d+:\d+\)?$)/;

/** An answer under way: what has come of it and was not read yet. */
type Pending = {
  readonly parts: (AnswerPart | LoradropError)[];
  wake: () => void;
  /** Called once the process has nothing more to do for it. */
  ended: (end: AnswerEnd) => void;
};

/** Options of a {@link ChatProcess}. */
export type ChatProcessOptions = {
  readonly path: string;
  readonly threads: number;
  readonly contextTokens: number;
  readonly environment: NodeJS.ProcessEnv;
  readonly logger: Logger;
};

/** A running chat process with one base. Whoever made it ends it. */
export class ChatProcess {
  readonly #child: ForkedProcess<ToChat, FromChat>;
  readonly #logger: Logger;
  readonly #opened = Promise.withResolvers<void>();
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  /** Resolves when the process is gone. */
  readonly exited: Promise<void>;
  /** Why it answers no more; undefined while it does. */
  #end: LoradropError | undefined;

  constructor({ path, threads, contextTokens, environment, logger }: ChatProcessOptions) {
    this.#logger = logger;
    // Nobody may be waiting when the process ends.
    this.#opened.promise.catch(() => undefined);
    this.#child = new ForkedProcess({
      entry: new URL('./child.ts', import.meta.url),
      what: 'chat process',
      environment,
      logger,
      isLogged: (line) => LOGGED_LINE.test(line),
      onMessage: (message) => this.#hear(message),
    });
    this.exited = this.#child.exited.then((how) =>
      this.#fail(chatErrors.lost(`The chat process ended (${how}); the next question starts another one.`)),
    );
    this.#yieldToOthers();
    this.#child.send({ type: 'open', path, threads, contextTokens });
  }

  /** Process id, or undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** False once it has ended or cannot use its base. */
  get usable(): boolean {
    return this.#end === undefined;
  }

  /** Resolves when the base is loaded. Errors: `base-model-unusable`, `base-runtime-missing`, `chat-lost`. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /**
   * Asks, and yields the answer as it comes; `onDone` is called when the process has made all of it, which may be before it
   * is read. A reader that stops, or `signal`, takes the question back, and waits until the process is done with it, or ends
   * the process when that takes too long. Errors: `chat-too-long`, `chat-messages-refused`, `chat-schema-unsupported`,
   * `base-adapter-refused`, `chat-failed`, `chat-lost`.
   */
  async *ask(
    question: ChatQuestion,
    options: {
      adapter?: string | undefined;
      signal: AbortSignal;
      onDone: (end: AnswerEnd) => void;
    },
  ): AsyncGenerator<AnswerPart, void, void> {
    const { adapter, signal, onDone } = options;
    await unlessAborted(this.#opened.promise, signal);
    if (this.#end) throw this.#end;
    const id = this.#nextId++;
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const pending: Pending = {
      parts: [],
      wake: () => {},
      ended(end) {
        resolve();
        onDone(end);
      },
    };
    this.#pending.set(id, pending);
    const abort = () => pending.wake();
    signal.addEventListener('abort', abort);
    let isOver = false;
    this.#child.send({ type: 'ask', id, question, ...(adapter !== undefined && { adapter }) });
    try {
      for (;;) {
        signal.throwIfAborted();
        const part = pending.parts.shift();
        if (part === undefined) {
          await new Promise<void>((resolve) => {
            pending.wake = resolve;
            // It may have been aborted, or have ended, between the check and this.
            if (signal.aborted || pending.parts.length > 0) resolve();
          });
          continue;
        }
        isOver = part instanceof LoradropError || 'facts' in part;
        if (part instanceof LoradropError) throw part;
        yield part;
        if (isOver) return;
      }
    } finally {
      signal.removeEventListener('abort', abort);
      if (!isOver) await this.#takeBack(id, ended);
      this.#pending.delete(id);
    }
  }

  /** Ends the process at once, and waits until it is gone. Idempotent. */
  async kill(): Promise<void> {
    await this.#child.kill();
    await this.exited;
  }

  /** Other questions of a process that has to be ended for this one end with `chat-lost`. */
  async #takeBack(id: number, ended: Promise<void>): Promise<void> {
    this.#child.send({ type: 'cancel', id });
    const late = setTimeout(() => {
      this.#logger.warn(
        { childPid: this.pid },
        'the chat process did not let go of a question, and is ended',
      );
      void this.#child.kill();
    }, TAKE_BACK_MS);
    await Promise.race([ended, this.exited]);
    clearTimeout(late);
  }

  #hear(message: FromChat): void {
    if (message.type === 'opened') this.#opened.resolve();
    else if (message.type === 'refused') this.#refuse(message.failure);
    else if (message.type === 'text') this.#tell(message.id, { text: message.text });
    else if (message.type === 'done') this.#tell(message.id, { facts: message.facts });
    else {
      const { where } = message.failure;
      if (where !== undefined) this.#logger.error({ childPid: this.pid, where }, 'a question failed');
      this.#tell(message.id, errorOf(message.failure));
    }
  }

  #refuse(failure: Failure): void {
    const { where } = failure;
    if (where !== undefined) this.#logger.error({ childPid: this.pid, where }, 'the base does not open');
    this.#fail(errorOf(failure));
  }

  #tell(id: number, part: AnswerPart | LoradropError): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    pending.parts.push(part);
    if (part instanceof LoradropError) pending.ended({ outcome: 'failed', error: part });
    else if ('facts' in part) pending.ended({ outcome: 'answered', facts: part.facts });
    pending.wake();
  }

  #fail(error: LoradropError): void {
    this.#end ??= error;
    this.#opened.reject(error);
    for (const id of this.#pending.keys()) this.#tell(id, error);
  }

  /** Generation goes first where both want the processor. */
  #yieldToOthers(): void {
    if (this.#child.pid === undefined) return;
    try {
      setPriority(this.#child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    } catch (error) {
      this.#logger.debug({ err: error }, 'chat process keeps its priority');
    }
  }
}

/** Waits for a promise, no longer than until the signal is aborted, and rejects with its reason then. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

const FACTORIES = [...Object.values(chatErrors), ...Object.values(evaluationErrors)];

function errorOf({ code, detail }: Failure): LoradropError {
  return (FACTORIES.find(({ spec }) => spec.code === code) ?? chatErrors.failed)(detail);
}

/** Asking base models with and without adapters: a bench to try adapters on, not a serving engine. */
import { toLoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import { type ChatAdapter, openAdapterFiles } from './adapter-files.ts';
import { type ChatBase, listBases } from './bases.ts';
import { ChatProcess } from './chat-process.ts';
import { chatErrors } from './errors.ts';
import { type AnswerEnd, heldAnswer } from './held-answer.ts';
import { chatBusy, openPlaces, type PlaceBounds } from './places.ts';
import type { AnswerPart, ChatQuestion } from './question.ts';

/** Options of {@link openChat}. */
export type ChatOptions = PlaceBounds & {
  /** Directory of GGUF bases; it need not exist. */
  readonly directory: string;
  /** Ids of the bases that bundles are for. */
  readonly known: () => readonly string[];
  readonly threads: number;
  /** Most tokens of a conversation and its answer. */
  readonly contextTokens: number;
  /** How long the process stays when nobody asks. */
  readonly idleMs: number;
  readonly environment: NodeJS.ProcessEnv;
  readonly metrics: Pick<Metrics, 'chatStarted' | 'chatFirstPiece' | 'chatEnded'>;
  readonly logger: Logger;
};

/** How a question is asked. */
export type AskOptions = {
  /** Whose place it takes. */
  readonly tenant: string;
  readonly adapter?: ChatAdapter | undefined;
  readonly signal: AbortSignal;
};

/** Answers questions, a few at a time. */
export type Chat = {
  /** The bases there are now. */
  bases(): Promise<readonly ChatBase[]>;
  /**
   * Asks a base. The answer begins with the first read; a place is taken at once, and held until the process is done.
   * Errors: `chat-busy`, `chat-tenant-busy` at once; those of {@link ChatProcess.ask} and of reading the adapter.
   */
  ask(base: ChatBase, question: ChatQuestion, options: AskOptions): AsyncGenerator<AnswerPart, void, void>;
  /** Process id of the chat process, undefined while there is none. */
  readonly pid: number | undefined;
  close(): Promise<void>;
};

/** Adapters that one process takes on: llama.cpp keeps each of them until its base is unloaded. */
const MAX_ADAPTERS = 32;

/** Opens the bench. Nothing runs until a question comes; the process ends when none came for a while. */
export function openChat(options: ChatOptions): Chat {
  const { directory, known, idleMs, metrics, logger } = options;
  const places = openPlaces(options);
  const files = openAdapterFiles();
  const adapters = new Set<string>();
  let current:
    | { readonly process: ChatProcess; readonly path: string; readonly changedAt: number }
    | undefined;
  let idle: NodeJS.Timeout | undefined;
  const closing = new AbortController();

  const endProcess = async () => {
    clearTimeout(idle);
    const ended = current?.process;
    current = undefined;
    adapters.clear();
    await Promise.all([ended?.kill(), files.clear()]);
  };

  /** The process with this base; another one's is ended when it answers nobody. */
  const processFor = (base: ChatBase, key: string | undefined): ChatProcess => {
    const isSame = current?.path === base.path && current.changedAt === base.changedAt;
    const isFull = key !== undefined && !adapters.has(key) && adapters.size >= MAX_ADAPTERS;
    if (current && (!current.process.usable || !isSame || isFull)) {
      if (current.process.usable && places.taken > 1) {
        throw chatBusy(
          isSame ? 'Another adapter has to wait for its place.' : 'Another base is being asked.',
        );
      }
      void current.process.kill();
      current = undefined;
      adapters.clear();
      void files.clear(key).catch((error) => logger.debug({ err: error }, 'files of adapters'));
    }
    if (!current) {
      const { threads, contextTokens, environment } = options;
      const process = new ChatProcess({ path: base.path, threads, contextTokens, environment, logger });
      current = { process, path: base.path, changedAt: base.changedAt };
      logger.info({ base: base.id, childPid: process.pid }, 'chat process started');
      void process.exited.then(() => {
        if (current?.process === process) {
          current = undefined;
          adapters.clear();
          logger.warn({ base: base.id }, 'the chat process ended by itself');
        }
      });
    }
    if (key !== undefined) adapters.add(key);
    return current.process;
  };

  async function* answer(
    base: ChatBase,
    question: ChatQuestion,
    { adapter, signal, onDone }: AskOptions & { onDone: (end: AnswerEnd) => void },
  ): AsyncGenerator<AnswerPart, void, void> {
    const acceptedAt = performance.now();
    const stop = AbortSignal.any([signal, closing.signal]);
    const path = adapter && (await files.path(adapter, { signal: stop }));
    const parts = processFor(base, adapter?.key).ask(question, { adapter: path, signal: stop, onDone });
    let isFirst = true;
    for await (const part of parts) {
      if (isFirst) metrics.chatFirstPiece(performance.now() - acceptedAt);
      isFirst = false;
      yield part;
    }
  }

  const taken = (tenant: string) => {
    try {
      return places.take(tenant);
    } catch (error) {
      metrics.chatEnded({ outcome: 'refused', code: toLoradropError(error).code });
      throw error;
    }
  };

  return {
    bases: () => listBases(directory, known()),
    ask(base, question, rest) {
      const giveBack = taken(rest.tenant);
      clearTimeout(idle);
      metrics.chatStarted();
      const onEnd = (end: AnswerEnd) => {
        giveBack();
        metrics.chatEnded(
          end.outcome === 'failed' ? { outcome: 'failed', code: toLoradropError(end.error).code } : end,
        );
        if (places.taken > 0 || closing.signal.aborted) return;
        idle = setTimeout(() => void endProcess(), idleMs);
        idle.unref();
      };
      return heldAnswer((onDone) => answer(base, question, { ...rest, onDone }), {
        signal: rest.signal,
        onEnd,
      });
    },
    get pid() {
      return current?.process.pid;
    },
    async close() {
      closing.abort(chatErrors.lost('The service is stopping.'));
      await endProcess();
      await files.close();
    },
  };
}

/**
 * Drafts that outlive a store which is full or away: what was decoded stays in memory until it is stored, and is written
 * again once the store is back, without a second decode.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LoradropError } from '../base/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { storeErrors } from '../store/errors.ts';
import type { AdapterDraft, StoredFile, TenantStore } from '../store/store.ts';
import { type KeptContent, keepContent } from './kept-content.ts';

/** Opens drafts that keep what is written to them, as far as there is memory. */
export type PatientDrafts = {
  /**
   * A draft that waits for the store; an ordinary one where `bytes` do not fit, so that a failure of the store ends the run.
   * Errors: those of the store, and the signal's reason.
   */
  open(store: Pick<TenantStore, 'draft'>, id: string, options: PatientDraftOptions): Promise<AdapterDraft>;
  /** Adapters that wait for the store now. */
  waiting(): number;
};

/** What is known of an adapter before it is made. */
export type PatientDraftOptions = {
  /** Of all its files, about. */
  readonly bytes: number;
  /** Milliseconds since the epoch after which waiting makes no sense. */
  readonly until: number;
  /** Ends the wait: the job was canceled, is late, or its worker stops. */
  readonly signal: AbortSignal;
  readonly logger: Pick<Logger, 'warn' | 'info'>;
};

/** Options of {@link createPatientDrafts}. */
export type PatientDraftsOptions = {
  /** Memory for all adapters that are being written or wait. */
  readonly maxBytes: number;
  /** Rejects while adapters cannot be stored. */
  readonly storeReady: () => Promise<void>;
  readonly pauseMs?: number;
  readonly now?: () => number;
};

/** Someone has to make room or to mend the store; a look each few seconds costs little. */
const PAUSE_MS = 2_000;
/** Times an adapter is written again to a store that says it works; then the failure is the adapter's own. */
const MAX_REPEATS = 2;

/** Makes {@link PatientDrafts}. */
export function createPatientDrafts(options: PatientDraftsOptions): PatientDrafts {
  const { maxBytes, storeReady, pauseMs = PAUSE_MS, now = Date.now } = options;
  const takeTurn = createLine();
  let takenBytes = 0;
  let waiting = 0;

  const isReady = () =>
    storeReady().then(
      () => true,
      () => false,
    );

  /**
   * Waits until the store is back, and answers how the turn is ended in which the adapter may be written. Rethrows the
   * failure once the time is over, and throws the signal's reason.
   */
  async function storeBack(
    error: unknown,
    { until, signal, logger }: PatientDraftOptions,
  ): Promise<() => void> {
    logger.warn({ err: error }, 'not stored; the adapter stays in memory until the store is back');
    waiting += 1;
    let endTurn: (() => void) | undefined;
    try {
      endTurn = await takeTurn(signal);
      do {
        if (now() > until) throw error;
        // Not all processes that share the store at the same moment.
        const jitter = 0.5 + Math.random();
        await delay(pauseMs * jitter, undefined, { signal }).catch(() => signal.throwIfAborted());
      } while (!(await isReady()));
    } catch (reason) {
      endTurn?.();
      throw reason;
    } finally {
      waiting -= 1;
    }
    logger.info('the store is back; the adapter is written again');
    return endTurn;
  }

  return {
    waiting: () => waiting,
    async open(store, id, about) {
      const { bytes, signal } = about;
      let draft: AdapterDraft | undefined = await store.draft(id);
      if (takenBytes + bytes > maxBytes) return draft;
      takenBytes += bytes;
      const contents = new Map<string, KeptContent>();
      const written = new Map<string, StoredFile>();
      let endTurn = () => {};
      let repeats = 0;
      let dropped = false;

      async function isWorthWaiting(error: unknown): Promise<boolean> {
        if (!(error instanceof LoradropError)) return false;
        if (error.code === storeErrors.full.spec.code) return true;
        if (error.code !== storeErrors.unavailable.spec.code) return false;
        return !(await isReady()) || ++repeats <= MAX_REPEATS;
      }

      /** Writes what the draft does not have yet, then goes on; begins anew with another draft whenever the store fails. */
      async function persist<T>(next: (draft: AdapterDraft) => Promise<T>): Promise<T> {
        for (;;) {
          try {
            draft ??= await store.draft(id);
            for (const [name, content] of contents) {
              if (!written.has(name)) written.set(name, await draft.write(name, content.read(), { signal }));
            }
            return await next(draft);
          } catch (error) {
            if (dropped || !(await isWorthWaiting(error))) throw error;
            // So that nothing holds up the decoder meanwhile.
            for (const content of contents.values()) await content.drain();
            await draft?.discard().catch(() => undefined);
            draft = undefined;
            written.clear();
            endTurn();
            endTurn = await storeBack(error, about);
          }
        }
      }

      return {
        async write(name, content) {
          const kept = keepContent(content);
          contents.set(name, kept);
          try {
            await persist(async () => undefined);
          } catch (error) {
            await kept.close();
            throw error;
          }
          return written.get(name)!;
        },
        async publish(facts) {
          const adapter = await persist((whole) => whole.publish(facts));
          endTurn();
          return adapter;
        },
        async discard() {
          if (!dropped) takenBytes -= bytes;
          dropped = true;
          try {
            for (const content of contents.values()) await content.close();
            await draft?.discard();
          } finally {
            endTurn();
          }
        },
      };
    },
  };
}

/**
 * Makes a line in which adapters that waited are written one after the other: several that begin together when there is
 * room for one would fill the store again, and all of them would have to begin anew. The function that comes back ends a
 * turn, and may be called again.
 */
function createLine(): (signal: AbortSignal) => Promise<() => void> {
  let last = Promise.resolve();
  return async (signal) => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const before = last;
    last = before.then(() => ended);
    try {
      await new Promise<void>((begin, leave) => {
        const onAbort = () => leave(signal.reason);
        if (signal.aborted) onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        before.then(() => {
          signal.removeEventListener('abort', onAbort);
          begin();
        });
      });
    } catch (reason) {
      end();
      throw reason;
    }
    return end;
  };
}

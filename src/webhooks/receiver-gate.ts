/**
 * Shares the attempts that run at once between receivers, so that one that is dead or slow takes little of them, however
 * many deliveries wait for it. It knows what this process has seen, and nothing is lost with it.
 */

/** Failed attempts in a row after which a receiver counts as dead and is tried by one delivery at a time. */
const DEAD_AFTER = 3;
/** Pause between tries of a dead receiver, from the first to the longest. */
const FIRST_PAUSE_MS = 5000;
const LONGEST_PAUSE_MS = 300_000;
/** An answer that takes longer than this makes a receiver slow. */
const SLOW_MS = 1000;
/** Attempts at once to a receiver that is slow or has just failed. */
const FEW = 2;
/** Deliveries that wait for one receiver are looked at again no more often than this, one after the other. */
const DEAD_LOOK_MS = 250;
const BUSY_LOOK_MS = 5;
/** Longest a delivery is put off before it is looked at again: another process may know better. */
const LONGEST_WAIT_MS = 3_600_000;
/** Waiting deliveries called early by each success: a receiver that is back gets twice as many each time. */
const CALLED_BY_SUCCESS = 2;
/** Longest wait for the end of an attempt at a receiver that answers quickly. */
const BRIEF_MS = 100;
/** Receivers remembered; beyond it those that nothing waits for are forgotten. */
const MAX_RECEIVERS = 10_000;
/** Waiting deliveries remembered for each receiver; those beyond it come back by themselves. */
const MAX_WAITING = 20_000;
/** Share of the last answer in the average of a receiver's times. */
const AVERAGE_SHARE = 0.3;

type Receiver = {
  /** Start times of the attempts under way. */
  readonly running: Set<{ readonly since: number }>;
  /** Deliveries put off, the oldest first. */
  readonly waiting: Set<string>;
  /** Wakes those who wait for a place, the oldest first. */
  readonly wakers: Set<() => void>;
  failures: number;
  averageMs: number;
  /** No attempt starts before. */
  pausedUntil: number;
};

/** How an attempt ended: the receiver took part, or not; `aborted` says nothing of the receiver. */
export type AttemptEnd =
  | { readonly kind: 'answered' | 'aborted' }
  | { readonly kind: 'failed'; readonly retryAfterMs?: number };

/** A place among the running attempts, or when to ask again. */
export type GateAnswer =
  | {
      readonly open: true;
      /** Gives the place back; answers the deliveries that may be tried now. */
      leave(end: AttemptEnd): readonly string[];
    }
  | { readonly open: false; readonly retryAt: number };

/** See the file's comment. */
export type ReceiverGate = {
  /** Asks for a place for a delivery, which is named so that it can be called. */
  enter(receiver: string, delivery: string): GateAnswer;
  /** True while there is no place, but the receiver answers so quickly that waiting for one is cheaper than coming back. */
  soon(receiver: string): boolean;
  /** Ends when an attempt at the receiver has ended, which wakes one who waits, or after `BRIEF_MS`. */
  freed(receiver: string): Promise<void>;
  /** True while the receiver counts as dead. */
  dead(receiver: string): boolean;
};

/** Makes a {@link ReceiverGate} for `concurrency` attempts at once. */
export function createReceiverGate(options: {
  concurrency: number;
  now?: () => number;
  random?: () => number;
}): ReceiverGate {
  const { concurrency, now = Date.now, random = Math.random } = options;
  const half = Math.max(1, Math.floor(concurrency / 2));
  const receivers = new Map<string, Receiver>();

  function find(name: string): Receiver {
    const known = receivers.get(name);
    if (known) return known;
    if (receivers.size >= MAX_RECEIVERS) forgetIdle();
    const receiver: Receiver = {
      running: new Set(),
      waiting: new Set(),
      wakers: new Set(),
      failures: 0,
      averageMs: 0,
      pausedUntil: 0,
    };
    receivers.set(name, receiver);
    return receiver;
  }

  function forgetIdle(): void {
    for (const [name, { running, waiting }] of receivers) {
      if (running.size === 0 && waiting.size === 0) receivers.delete(name);
      if (receivers.size < MAX_RECEIVERS / 2) return;
    }
  }

  const isDead = ({ failures }: Receiver) => failures >= DEAD_AFTER;

  function isHealthy(receiver: Receiver): boolean {
    const [oldest] = receiver.running;
    return (
      receiver.failures === 0 &&
      receiver.averageMs <= SLOW_MS &&
      (oldest === undefined || now() - oldest.since <= SLOW_MS)
    );
  }

  /** All receivers that are not healthy share half of the places, so that the others always have the rest. */
  function troubled(): number {
    let count = 0;
    for (const receiver of receivers.values()) {
      if (receiver.running.size > 0 && !isHealthy(receiver)) count += receiver.running.size;
    }
    return count;
  }

  function hasPlace(receiver: Receiver): boolean {
    if (now() < receiver.pausedUntil) return false;
    if (isHealthy(receiver)) return receiver.running.size < half;
    return receiver.running.size < (isDead(receiver) ? 1 : Math.min(FEW, half)) && troubled() < half;
  }

  /** Spread over the time that those before it will take, so that each is looked at about once. */
  function putOff(receiver: Receiver, delivery: string): number {
    if (receiver.waiting.size < MAX_WAITING) receiver.waiting.add(delivery);
    const each = isDead(receiver)
      ? DEAD_LOOK_MS
      : Math.max(BUSY_LOOK_MS, receiver.averageMs / (isHealthy(receiver) ? half : FEW));
    const from = Math.max(now(), receiver.pausedUntil);
    const spread = Math.max(1, receiver.waiting.size) * each;
    return Math.round(from + each + Math.min(spread, LONGEST_WAIT_MS) * random());
  }

  function note(receiver: Receiver, end: AttemptEnd, tookMs: number): void {
    if (end.kind === 'aborted') return;
    receiver.averageMs += (tookMs - receiver.averageMs) * AVERAGE_SHARE;
    if (end.kind !== 'failed') {
      receiver.failures = 0;
      receiver.pausedUntil = 0;
      return;
    }
    receiver.failures += 1;
    const doublings = receiver.failures - DEAD_AFTER;
    const pause = doublings < 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** doublings, LONGEST_PAUSE_MS);
    const wait = Math.max(pause, Math.min(end.retryAfterMs ?? 0, LONGEST_WAIT_MS));
    receiver.pausedUntil = Math.max(receiver.pausedUntil, now() + wait);
  }

  return {
    enter(name, delivery) {
      const receiver = find(name);
      if (!hasPlace(receiver)) return { open: false, retryAt: putOff(receiver, delivery) };
      receiver.waiting.delete(delivery);
      const attempt = { since: now() };
      receiver.running.add(attempt);
      return {
        open: true,
        leave(end) {
          receiver.running.delete(attempt);
          note(receiver, end, now() - attempt.since);
          for (const wake of take(receiver.wakers, 1)) wake();
          if (end.kind !== 'answered') return [];
          const called = [...take(receiver.waiting, CALLED_BY_SUCCESS)];
          for (const each of called) receiver.waiting.delete(each);
          return called;
        },
      };
    },
    soon(name) {
      const receiver = receivers.get(name);
      if (!receiver || hasPlace(receiver) || now() < receiver.pausedUntil) return false;
      return isHealthy(receiver) && receiver.averageMs > 0;
    },
    freed(name) {
      const { wakers } = find(name);
      return new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          wakers.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, BRIEF_MS);
        wakers.add(wake);
      });
    },
    dead(name) {
      const receiver = receivers.get(name);
      return receiver !== undefined && isDead(receiver);
    },
  };
}

function* take<T>(values: Iterable<T>, most: number): Generator<T> {
  let count = 0;
  for (const value of values) {
    if (count++ >= most) return;
    yield value;
  }
}

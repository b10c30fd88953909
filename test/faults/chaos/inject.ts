/** Breaks a fleet in a seeded order, several faults at a time, and measures how soon it works again. */
import { setTimeout as delay } from 'node:timers/promises';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { Load } from './clients.ts';
import type { FaultKind } from './faults.ts';
import type { Fleet } from './fleet.ts';

/** What takes longer than this, on however busy a machine, will not come. */
const STUCK_MS = 900_000;

/** A fault that was done. Times are milliseconds since the first one. */
export type DoneFault = {
  readonly kind: string;
  readonly used: readonly string[];
  readonly beganAtMs: number;
  /** When what the fault did was over: processes killed, ways healed. */
  readonly overAtMs: number;
  /** From then to the next job that a client saw finished. */
  readonly recoveryMs: number;
  /** From then until what it was done to worked again. */
  readonly backMs: number;
};

/** How the injection went. */
export type Injection = {
  readonly done: readonly DoneFault[];
  /** Of the first fault, on the monotonic clock. */
  readonly startedAt: number;
};

/** Does `count` faults, the next one `everyMs` after the last began or as soon as what it needs is free. */
export async function injectFaults(options: {
  readonly fleet: Fleet;
  readonly load: Load;
  readonly kinds: readonly FaultKind[];
  readonly count: number;
  readonly everyMs: number;
  readonly random: RandomGenerator;
  readonly onFault?: (fault: DoneFault, nth: number) => void;
}): Promise<Injection> {
  const { fleet, load, kinds, count, everyMs, random, onFault } = options;
  const done: DoneFault[] = [];
  const busy = new Set<string>();
  const inFlight = new Set<Promise<void>>();
  const startedAt = performance.now();
  let deck: FaultKind[] = [];
  let begun = 0;

  async function carryOut(
    kind: FaultKind,
    uses: readonly string[],
    run: () => Promise<void>,
    over: { at: number },
  ) {
    const beganAt = performance.now();
    for (const use of uses) busy.add(use);
    try {
      await within(run(), `${kind.name} (${uses.join(', ')}) is not over`);
    } finally {
      for (const use of uses) busy.delete(use);
    }
    const backAt = performance.now();
    const nextAt = await within(finishedAfter(load, over.at), `no job has ended since: ${kind.name}`);
    const fault = {
      kind: kind.name,
      used: uses,
      beganAtMs: Math.round(beganAt - startedAt),
      overAtMs: Math.round(over.at - startedAt),
      recoveryMs: Math.round(nextAt - over.at),
      backMs: Math.round(backAt - over.at),
    };
    done.push(fault);
    onFault?.(fault, done.length);
  }

  while (begun < count) {
    if (deck.length === 0) deck = shuffled(random, kinds);
    const free = fleet.processes.filter(({ name }) => !busy.has(name));
    let place = -1;
    // The first of the deck that can be done beside what is going on.
    for (let at = 0; at < deck.length && place < 0; at++) {
      const over = { at: 0 };
      const fault = deck[at]!.prepare({
        fleet,
        random,
        free,
        over: () => {
          if (over.at === 0) over.at = performance.now();
        },
      });
      if (!fault || fault.uses.some((use) => busy.has(use))) continue;
      place = at;
      const carried = carryOut(deck[at]!, fault.uses, fault.run, over).finally(() =>
        inFlight.delete(carried),
      );
      inFlight.add(carried);
    }
    if (place < 0) {
      if (inFlight.size === 0) throw new Error('no fault of the deck can be done');
      await Promise.race(inFlight);
      continue;
    }
    deck.splice(place, 1);
    begun += 1;
    if (begun < count) await delay(everyMs);
  }
  await Promise.all(inFlight);
  return { done, startedAt };
}

/** Fails, saying what hangs, where that would otherwise go on for ever. */
async function within<T>(work: Promise<T>, what: string): Promise<T> {
  const patience = new AbortController();
  const hangs = delay(STUCK_MS, undefined, { signal: patience.signal }).then(() => {
    throw new Error(`${what} after ${STUCK_MS / 60_000} minutes`);
  });
  hangs.catch(() => undefined);
  try {
    return await Promise.race([work, hangs]);
  } finally {
    patience.abort();
  }
}

/** When the first job was seen finished after that time, waiting for it if need be. */
async function finishedAfter({ jobs, nextFinished }: Load, at: number): Promise<number> {
  const next = nextFinished();
  const seen = jobs.reduce(
    (first, { finishedAt = Number.POSITIVE_INFINITY }) =>
      finishedAt > at ? Math.min(first, finishedAt) : first,
    Number.POSITIVE_INFINITY,
  );
  return Number.isFinite(seen) ? seen : await next;
}

function shuffled<T>(random: RandomGenerator, values: readonly T[]): T[] {
  const mixed = [...values];
  for (let at = mixed.length - 1; at > 0; at--) {
    const other = uniformInt(random, 0, at);
    [mixed[at], mixed[other]] = [mixed[other]!, mixed[at]!];
  }
  return mixed;
}

/** What is done to a fleet: a table of kinds. */
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { until } from '../../helpers/loradrop-process.ts';
import type { Toxic, ToxicWay } from '../../helpers/toxiproxy.ts';
import type { FaultProxy } from '../../store/fault-proxy.ts';
import { type Fleet, JOB_LOCK_MS } from './fleet.ts';
import type { KeptProcess } from './kept-process.ts';
import type { MemoryGroup } from './memory-group.ts';
import type { ReceiverMood } from './receiver.ts';

/** What a fault of a kind is carried out with. */
export type FaultContext = {
  readonly fleet: Fleet;
  readonly random: RandomGenerator;
  /** Processes that no other fault is using. */
  readonly free: readonly KeptProcess[];
  /** What the fault itself did is over; recovery is counted from here. */
  over(): void;
};

/** A fault that can begin now. */
export type Fault = {
  /** What it uses alone while it lasts: names of processes, `queue`, `store` or `receiver`. */
  readonly uses: readonly string[];
  /** Does it, says when it is over, and returns once what it used can be used again. */
  run(): Promise<void>;
};

/** A kind of fault. */
export type FaultKind = {
  readonly name: string;
  /** One that takes seconds at most and few processor time, for the short form. */
  readonly cheap?: true;
  /** Why this fleet cannot have it, or undefined. */
  missing?(fleet: Fleet): string | undefined;
  /** Undefined while there is nothing to do it to. */
  prepare(context: FaultContext): Fault | undefined;
};

/** Moved so far that timers, retention and signatures would notice; a receiver refuses what is five minutes off. */
const CLOCK_JUMP_SECONDS = 90;
/** Longer than a worker's hold and the look for lost ones. */
const PAUSE_MS = { from: JOB_LOCK_MS * 1.5, to: JOB_LOCK_MS * 2.5 };
/** Of cuts, delays, errors and silences. */
const DISTURBED_MS = { from: 500, to: 4000 };

function between(random: RandomGenerator, { from, to }: { from: number; to: number }): number {
  return uniformInt(random, Math.round(from), Math.round(to));
}

function oneOf<T>(random: RandomGenerator, values: readonly T[]): T | undefined {
  return values.length === 0 ? undefined : values[uniformInt(random, 0, values.length - 1)];
}

/** A fault of one process that is chosen among the free ones. */
function ofProcess(
  name: string,
  suits: (process: KeptProcess) => boolean,
  run: (process: KeptProcess, context: FaultContext) => Promise<void>,
  more: Partial<FaultKind> = {},
): FaultKind {
  return {
    name,
    ...more,
    prepare(context) {
      const target = oneOf(context.random, context.free.filter(suits));
      return target && { uses: [target.name], run: () => run(target, context) };
    },
  };
}

const isRole = (role: KeptProcess['role']) => (process: KeptProcess) =>
  process.role === role && process.mayBeKilled;
const isWorker = ({ role }: KeptProcess) => role === 'worker';

function ended(role: KeptProcess['role'], signal: 'SIGKILL' | 'SIGTERM'): FaultKind {
  const how = signal === 'SIGKILL' ? 'killed' : 'restarted by SIGTERM';
  return ofProcess(
    `${role} ${how}`,
    isRole(role),
    async (process, { over }) => {
      const gone = process.end(signal);
      if (signal === 'SIGKILL') over();
      await gone;
      over();
      await process.ready();
    },
    { cheap: true },
  );
}

function paused(name: string, suits: (process: KeptProcess) => boolean, pids: (of: KeptProcess) => number[]) {
  return ofProcess(name, suits, async (target, { random, over }) => {
    const stopped = pids(target);
    send(stopped, 'SIGSTOP');
    await delay(between(random, PAUSE_MS));
    send(stopped, 'SIGCONT');
    over();
    await target.ready();
  });
}

function send(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It is gone already.
    }
  }
}

function clockMoved(name: string, seconds: number): FaultKind {
  return ofProcess(
    name,
    ({ hasOwnClock }) => hasOwnClock,
    async (process, { random, over }) => {
      process.moveClock(seconds);
      // Its answers carry its time; a fault that did not happen is none.
      await until(async () => Math.abs((await clockOf(process)) - seconds) < 10);
      await delay(between(random, DISTURBED_MS));
      process.moveClock(0);
      over();
      // The library looks at the time it is to tell each second.
      await delay(1500);
    },
    {
      missing: (fleet) =>
        fleet.processes.some((each) => each.hasOwnClock) ? undefined : 'faketime is not installed',
    },
  );
}

/** Seconds by which a process is ahead of this one. */
async function clockOf({ url }: KeptProcess): Promise<number> {
  const answer = await fetch(`${url}/livez`);
  await answer.body?.cancel();
  return (Date.parse(answer.headers.get('date') ?? '') - Date.now()) / 1000;
}

/** Waits until the worker has an inference process in place of those, and works again. */
async function hasOthers(worker: KeptProcess, gone: readonly number[]): Promise<void> {
  await until(async () => {
    const children = worker.children();
    if (children.length === 0 || children.some((pid) => gone.includes(pid))) return false;
    const answer = await fetch(`${worker.url}/readyz`).catch(() => undefined);
    await answer?.body?.cancel();
    return answer?.ok === true;
  }, 600_000);
}

const noMemoryGroups = ({ processes }: Fleet) =>
  processes.some(({ memory }) => memory) ? undefined : 'it needs the right to make memory groups (cgroups)';

/** Has the kernel end a process of the group. */
async function exhaust(group: MemoryGroup): Promise<void> {
  if ((await group.exhaust()) === 0) throw new Error('the kernel has ended no process at the memory limit');
}

/** Something done to the way between processes and the queue or the store: of one of them, or of all. */
function onWay(
  to: 'queue' | 'store',
  what: string,
  spoil: (way: ToxicWay) => Promise<void>,
  more: Partial<FaultKind> = {},
): FaultKind {
  const waysOf = (fleet: Fleet) => (to === 'queue' ? fleet.waysToQueue : fleet.waysToStore);
  return {
    name: `way to the ${to} ${what}`,
    ...more,
    missing: (fleet) => (waysOf(fleet).size > 0 ? undefined : `no way to the ${to} goes through a proxy`),
    prepare({ fleet, random, over }) {
      const ways = [...waysOf(fleet)];
      const chosen = uniformInt(random, 0, 1) === 0 ? ways : [oneOf(random, ways)!];
      return {
        uses: [to],
        async run() {
          await Promise.all(chosen.map(([, way]) => spoil(way)));
          await delay(between(random, DISTURBED_MS));
          await Promise.all(chosen.map(([, way]) => way.heal()));
          over();
        },
      };
    },
  };
}

const poisoned = (toxic: Toxic) => (way: ToxicWay) => way.poison(toxic);

function onQueueServer(
  name: string,
  run: (fleet: Fleet, context: FaultContext) => Promise<void>,
  has: (fleet: Fleet) => boolean = () => true,
  more: Partial<FaultKind> = {},
): FaultKind {
  return {
    name,
    ...more,
    missing: (fleet) => (has(fleet) ? undefined : `not on ${fleet.options.queue}`),
    prepare: (context) => ({ uses: ['queue'], run: () => run(context.fleet, context) }),
  };
}

const NO_OBJECT_STORAGE = 'the store is a directory';

/** Object storage that does something wrong to requests for a while. */
function wrongAnswers(name: string, fault: FaultProxy['fault'], more: Partial<FaultKind> = {}): FaultKind {
  return {
    name,
    ...more,
    missing: ({ objectStorage }) => (objectStorage ? undefined : NO_OBJECT_STORAGE),
    prepare: ({ fleet, random, over }) => ({
      uses: ['store'],
      async run() {
        const { proxy } = fleet.objectStorage!;
        // Some requests pass, so that work is broken off in its middle.
        proxy.fault = (incoming, response) => Math.random() < 0.7 && fault(incoming, response);
        await delay(between(random, DISTURBED_MS));
        proxy.fault = () => false;
        over();
      },
    }),
  };
}

function receiverIs(
  name: string,
  disturb: (fleet: Fleet, wrong: boolean) => Promise<void>,
  more: Partial<FaultKind> = {},
): FaultKind {
  return {
    name,
    ...more,
    prepare: ({ fleet, random, over }) => ({
      uses: ['receiver'],
      async run() {
        await disturb(fleet, true);
        await delay(between(random, DISTURBED_MS));
        await disturb(fleet, false);
        over();
      },
    }),
  };
}

const inMood = (mood: ReceiverMood) => async (fleet: Fleet, wrong: boolean) => {
  fleet.receiver.mood = wrong ? mood : 'takes them';
};

/** All kinds. */
export const FAULT_KINDS: readonly FaultKind[] = [
  ended('worker', 'SIGKILL'),
  ended('api', 'SIGKILL'),
  ended('worker', 'SIGTERM'),
  ended('api', 'SIGTERM'),
  ofProcess(
    'inference process killed',
    isWorker,
    async (worker, { over }) => {
      const children = worker.children();
      send(children, 'SIGKILL');
      over();
      await hasOthers(worker, children);
    },
    { cheap: true },
  ),
  paused('worker paused', isWorker, (worker) => [worker.pid(), ...worker.children()]),
  paused('inference process paused', isWorker, (worker) => worker.children()),
  paused(
    'api paused',
    ({ role }) => role === 'api',
    (api) => [api.pid()],
  ),
  ofProcess(
    'memory limit of a worker reached',
    ({ memory }) => memory !== undefined,
    async (worker, { over }) => {
      // The kernel takes the largest process of the container.
      worker.expectEnd();
      const children = worker.children();
      await exhaust(worker.memory!.whole);
      over();
      await until(async () => !children.every((pid) => worker.children().includes(pid)));
      await hasOthers(worker, children);
    },
    { missing: noMemoryGroups },
  ),
  ofProcess(
    'memory limit of an inference process reached',
    ({ memory }) => memory !== undefined,
    async (worker, { over }) => {
      const children = worker.children();
      for (const pid of children) worker.memory!.spare.add(pid);
      await exhaust(worker.memory!.spare);
      over();
      await hasOthers(worker, children);
    },
    { missing: noMemoryGroups },
  ),
  clockMoved('clock jumps ahead', CLOCK_JUMP_SECONDS),
  clockMoved('clock jumps back', -CLOCK_JUMP_SECONDS),

  onQueueServer(
    'queue server killed',
    async ({ queue }, { over }) => {
      const back = queue.crash();
      over();
      await back;
    },
    undefined,
    { cheap: true },
  ),
  onQueueServer(
    'a process of the queue server killed',
    async ({ queue }, { over }) => {
      await queue.crashBackend!();
      over();
      await delay(1000);
    },
    ({ queue }) => queue.crashBackend !== undefined,
  ),
  onQueueServer(
    'queue server paused',
    async ({ queue }, { random, over }) => {
      await queue.hang!(delay(between(random, PAUSE_MS)));
      over();
    },
    ({ queue }) => queue.hang !== undefined,
  ),
  onWay('queue', 'cut', (way) => way.cut(), { cheap: true }),
  onWay('queue', 'reset', poisoned({ type: 'reset_peer', attributes: { timeout: 0 } })),
  onWay('queue', 'slow', poisoned({ type: 'latency', attributes: { latency: 150, jitter: 100 } })),
  onWay('queue', 'silent', poisoned({ type: 'timeout', attributes: { timeout: 0 } })),

  {
    name: 'object storage killed',
    missing: ({ objectStorage }) => (objectStorage ? undefined : NO_OBJECT_STORAGE),
    prepare: ({ fleet, random, over }) => ({
      uses: ['store'],
      async run() {
        const { server } = fleet.objectStorage!;
        await server.kill();
        await delay(between(random, { from: 0, to: 1500 }));
        await server.restart();
        over();
      },
    }),
  },
  onWay('store', 'cut', (way) => way.cut()),
  onWay('store', 'reset', poisoned({ type: 'reset_peer', attributes: { timeout: 0 } })),
  onWay('store', 'slow', poisoned({ type: 'latency', attributes: { latency: 150, jitter: 100 } })),
  wrongAnswers(
    'object storage answers 500',
    (_incoming, response) => Boolean(response.writeHead(500).end()),
    {
      cheap: true,
    },
  ),
  wrongAnswers('object storage answers 503', (_incoming, response) =>
    Boolean(response.writeHead(503, { 'retry-after': '1' }).end()),
  ),
  wrongAnswers('object storage breaks off uploads', (incoming) => {
    if (incoming.method !== 'PUT') return false;
    incoming.once('data', () => incoming.destroy());
    return true;
  }),
  {
    name: 'disk full',
    missing: ({ disk }) => (disk === undefined ? 'the store is no small disk' : undefined),
    prepare: ({ fleet, random, over }) => ({
      uses: ['store'],
      async run() {
        const filler = join(fleet.disk!, 'filler');
        await fill(fleet.disk!, filler);
        await delay(between(random, DISTURBED_MS));
        await rm(filler, { force: true });
        over();
      },
    }),
  },

  receiverIs('receiver away', (fleet, wrong) =>
    wrong ? fleet.wayToReceiver.cut() : fleet.wayToReceiver.heal(),
  ),
  receiverIs('receiver answers 500', inMood('answers 500'), { cheap: true }),
  receiverIs('receiver never answers', inMood('never answers')),
];

/** Takes all there is of a disk, but for nothing. */
async function fill(disk: string, filler: string): Promise<void> {
  const { bavail, bsize } = await statfs(disk);
  const chunk = Buffer.alloc(16 << 20);
  await writeFile(filler, '');
  for (let left = bavail * bsize; left > 0; left -= chunk.length) {
    const part = chunk.subarray(0, Math.min(left, chunk.length));
    const full = await writeFile(filler, part, { flag: 'a' }).then(
      () => false,
      (error: NodeJS.ErrnoException) => error.code === 'ENOSPC',
    );
    if (full) return;
  }
}

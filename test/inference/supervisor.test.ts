import { pino } from 'pino';
import { test } from 'tap';
import { ownEnvironment } from '../../src/config/load.ts';
import type { Failure, FromChild } from '../../src/inference/protocol.ts';
import { Supervisor, type SupervisorOptions } from '../../src/inference/supervisor.ts';
import { isAlive } from './engines.ts';

type Tap = { teardown(run: () => Promise<unknown>): void };

/** A supervisor of real processes; `events` is what it and they said, in order. */
function supervise(
  t: Tap,
  options: Partial<SupervisorOptions> & { act?: (message: FromChild) => void } = {},
) {
  const { act = () => {}, ...rest } = options;
  const events: string[] = [];
  const pids: number[] = [];
  const failed = Promise.withResolvers<Failure>();
  const supervisor: Supervisor = new Supervisor({
    device: { provider: 'cpu', index: 0, optional: false },
    // Nothing is written to it here.
    spool: 2,
    opening: { threads: 1, encodeTokenBudget: 64, promptCacheBytes: 0, memoryLimitBytes: 0 },
    environment: ownEnvironment(),
    logger: pino({ level: 'silent' }),
    restartDelayMs: 1,
    onMessage(message) {
      events.push(message.type);
      if (message.type === 'opened') {
        supervisor.noteOpened(message);
        pids.push(pidOf(supervisor));
      }
      act(message);
    },
    onLost: ({ onPurpose }) => events.push(onPurpose ? 'lost on purpose' : 'lost'),
    onFailed: failed.resolve,
    ...rest,
  });
  t.teardown(() => supervisor.close());
  return { supervisor, events, pids, failed: failed.promise };
}

function pidOf({ life }: Supervisor): number {
  return 'process' in life ? life.process.pid! : 0;
}

test('a first process that ends again and again before it takes work is given up, and the start fails', async (t) => {
  const { supervisor, pids, failed } = supervise(t, {
    maxRestarts: 2,
    // That it is idle is not passed on, as if the process had ended before it could say so.
    act: ({ type }) => type === 'opened' && process.kill(pidOf(supervisor), 'SIGKILL'),
  });
  await t.rejects(supervisor.started, { code: 'engine-lost', message: /3 times in a row/ });
  t.match(await failed, { code: 'engine-lost', detail: /3 times in a row/ });
  t.match(supervisor.life, { kind: 'failed', reason: /3 times in a row/ });
  t.equal(pids.length, 3);
  t.equal(supervisor.restarts, 2);
});

test('crashes before the engine was ready no longer count, nor does a process that was ended on purpose', async (t) => {
  const up = [0, 1, 2, 3].map(() => Promise.withResolvers<void>());
  let ups = 0;
  const { supervisor, events, pids } = supervise(t, {
    maxRestarts: 1,
    act(message) {
      if (message.type !== 'idle') return;
      supervisor.noteIdle(message);
      up[ups++]!.resolve();
    },
  });
  t.equal(supervisor.life.kind, 'opening');
  await supervisor.started;
  t.equal(supervisor.life.kind, 'open');
  t.ok(supervisor.memory.residentBytes > 0);
  process.kill(pids[0]!, 'SIGKILL');
  await up[1]!.promise;
  supervisor.noteReady();
  process.kill(pids[1]!, 'SIGKILL');
  await up[2]!.promise;
  supervisor.endProcess();
  t.equal(supervisor.life.kind, 'ending');
  await up[3]!.promise;
  t.equal(supervisor.life.kind, 'open');
  t.strictSame(
    events.filter((event) => event.startsWith('lost')),
    ['lost', 'lost', 'lost on purpose'],
  );
  t.strictSame(pids.map(isAlive), [false, false, false, true]);
});

test('closed while the next process waits, it starts none', async (t) => {
  const lostTwice = Promise.withResolvers<void>();
  let losses = 0;
  const { supervisor, pids } = supervise(t, {
    restartDelayMs: 2 ** 30,
    onLost() {
      if (++losses === 2) lostTwice.resolve();
    },
    act: ({ type }) => type === 'opened' && process.kill(pidOf(supervisor), 'SIGKILL'),
  });
  await lostTwice.promise;
  t.match(supervisor.life, { kind: 'restarting' });
  await supervisor.close();
  t.match(supervisor.life, { kind: 'closed' });
  t.equal(pids.length, 2);
});

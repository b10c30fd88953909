import { test } from 'tap';
import { watchOtherLoad } from '../../src/cli/other-load.ts';

test('what is neither idle nor of this process is the share of others', (t) => {
  let times = { idleMs: 1000, totalMs: 5000, ownMs: 300 };
  const share = watchOtherLoad({ times: () => times });
  t.equal(share(), 0, 'no time has passed');
  times = { idleMs: 1500, totalMs: 7000, ownMs: 1300 };
  t.equal(share(), 0.25);
  times = { idleMs: 2000, totalMs: 7000, ownMs: 2300 };
  t.equal(share(), 0, 'the clocks of processors and of processes tick differently');
  t.end();
});

test('the processors of this machine have times that go forward', (t) => {
  const share = watchOtherLoad();
  const until = performance.now() + 200;
  while (performance.now() < until);
  const taken = share();
  t.ok(taken >= 0 && taken < 1, `${taken}`);
  t.end();
});

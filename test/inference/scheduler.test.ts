import { test } from 'tap';
import { nextTickAtMs, requestsAt } from '../../src/inference/scheduler.ts';
import { bundleOf, figures, killed, start, startWith } from './schedulers.ts';

const a = bundleOf('a');
const b = bundleOf('b');
const broken = { code: 'bundle-unloadable', detail: 'encoder.onnx does not load: no such file.' };
const run = (digest: string, ...ids: number[]) => [{ type: 'run', digest, ids }];

test('nothing is sent before the child can take work, and then one thing at a time', async (t) => {
  const { tell, infer, idle, decoded } = start();
  t.strictSame(tell({ type: 'load', bundle: a }), []);
  t.strictSame(infer(1, b), []);
  t.strictSame(idle(), [{ type: 'load', bundle: a }]);
  t.strictSame(tell({ type: 'load', bundle: a }), [], 'asked for twice');
  t.strictSame(tell({ type: 'loaded', digest: 'a' }), [{ type: 'resolveLoad', digest: 'a' }]);
  t.strictSame(idle(), [{ type: 'load', bundle: b }], 'because a request needs it');
  t.strictSame(tell({ type: 'loaded', digest: 'b' }), [{ type: 'resolveLoad', digest: 'b' }]);
  t.strictSame(idle(), run('b', 1));
  t.strictSame(infer(2, a), []);
  t.strictSame(decoded(1), [{ type: 'deliver', id: 1, ...figures }]);
  t.strictSame(idle(), run('a', 2));
});

test('requests of the first one’s bundle go together as far as the token budget reaches', async (t) => {
  const scheduler = startWith([a, b]);
  t.strictSame(scheduler.infer(1, a), run('a', 1));
  scheduler.infer(2, b);
  scheduler.infer(3, a);
  scheduler.infer(4, b);
  scheduler.infer(5, b);
  scheduler.decoded(1);
  t.strictSame(scheduler.idle(), run('b', 2, 4), '80 tokens: two requests');
  t.strictSame(scheduler.queued(), [3, 5]);
  t.strictSame(scheduler.idle(), run('a', 3), 'what waited first is served first');
});

test('a batch that is not full waits for company, as long as it may', async (t) => {
  const scheduler = startWith([a], { batchWaitMs: 50 });
  t.strictSame(scheduler.infer(1, a), []);
  t.equal(nextTickAtMs(scheduler.state), 1050);
  t.strictSame(scheduler.tickAt(1049.5), [], 'a timer that is early');
  t.equal(nextTickAtMs(scheduler.state), 1050);
  t.strictSame(scheduler.tickAt(1050), run('a', 1));
  t.equal(nextTickAtMs(scheduler.state), undefined);

  const full = startWith([a], { batchWaitMs: 50 });
  full.infer(1, a);
  t.strictSame(full.infer(2, a), run('a', 1, 2), 'a full one goes at once');

  const left = startWith([a], { batchWaitMs: 50 });
  left.infer(1, a);
  left.tell({ type: 'cancel', id: 1 });
  t.strictSame(left.tickAt(1050), []);
  t.equal(nextTickAtMs(left.state), undefined, 'nothing waits any more');
});

test('a canceled request leaves the queue, and the child hears nothing of it', async (t) => {
  const scheduler = startWith([a]);
  scheduler.infer(1, a);
  scheduler.infer(2, a);
  t.strictSame(scheduler.tell({ type: 'cancel', id: 2 }), []);
  t.strictSame(scheduler.queued(), []);
  scheduler.decoded(1);
  t.strictSame(scheduler.tell({ type: 'cancel', id: 1 }), [], 'finished already');
  t.strictSame(scheduler.idle(), []);
});

test('a canceled running request is stopped, and whatever the child still says of it is dropped', async (t) => {
  for (const answer of [
    { type: 'stopped', id: 2 },
    { type: 'failed', id: 2, failure: killed },
  ] as const) {
    const scheduler = startWith([a], { batchWaitMs: 50 });
    scheduler.infer(1, a);
    scheduler.infer(2, a);
    t.strictSame(scheduler.tell({ type: 'cancel', id: 2 }), [{ type: 'stop', id: 2 }]);
    t.strictSame(requestsAt(scheduler.state, 'batch'), [1], 'no progress for it');
    t.strictSame(requestsAt(scheduler.state, 2), []);
    t.strictSame(scheduler.tell(answer), []);
    t.equal(nextTickAtMs(scheduler.state), undefined);
  }
  const late = startWith([a]);
  late.infer(1, a);
  late.tell({ type: 'cancel', id: 1 });
  t.strictSame(late.decoded(1), []);
});

test('a canceled request that does not stop within its grace ends the process, if nobody wants the work', async (t) => {
  const scheduler = startWith([a], { batchWaitMs: 50 });
  scheduler.infer(1, a);
  scheduler.infer(2, a);
  scheduler.tell({ type: 'cancel', id: 2 });
  t.equal(nextTickAtMs(scheduler.state), 1100);
  scheduler.tickAt(1099.5);
  t.equal(nextTickAtMs(scheduler.state), 1100, 'a timer that is early');
  t.strictSame(scheduler.tickAt(1100), [], 'the batch is embedded for request 1 as well');
  t.equal(nextTickAtMs(scheduler.state), undefined);
  scheduler.tell({ type: 'cancel', id: 1 });
  t.equal(nextTickAtMs(scheduler.state), 1200);
  t.strictSame(scheduler.tickAt(1200), [{ type: 'endProcess' }]);

  const decoding = startWith([a], { batchWaitMs: 50, cancelGraceMs: 0 });
  decoding.infer(1, a);
  decoding.infer(2, a);
  decoding.tell({ type: 'working', on: 1 });
  decoding.tell({ type: 'cancel', id: 2 });
  t.strictSame(decoding.tickAt(1000), [], 'the child works on request 1');
  decoding.tell({ type: 'cancel', id: 1 });
  t.strictSame(decoding.tickAt(1000), [{ type: 'endProcess' }], 'though request 2 waits behind it');
});

test('a lost batch goes back in front of the queue; the second loss rejects what was worked on', async (t) => {
  const scheduler = startWith([a], { batchWaitMs: 50 });
  scheduler.infer(1, a);
  scheduler.infer(2, a);
  scheduler.infer(3, a);
  scheduler.tell({ type: 'working', on: 1 });
  t.strictSame(scheduler.lose(), []);
  t.strictSame(scheduler.queued(), [1, 2, 3]);
  t.equal(nextTickAtMs(scheduler.state), undefined);
  t.strictSame(scheduler.comeUp(a), run('a', 1, 2));
  scheduler.tell({ type: 'working', on: 1 });
  t.strictSame(scheduler.lose(), [{ type: 'reject', id: 1, failure: killed }]);
  t.strictSame(scheduler.queued(), [2, 3], 'request 2 was a bystander twice');
  scheduler.comeUp(a);
  scheduler.lose();
  scheduler.comeUp(a);
  t.strictSame(
    scheduler.lose(),
    [2, 3].map((id) => ({ type: 'reject', id, failure: killed })),
    'while prompts are embedded, all requests of the batch may be the cause',
  );
});

test('a process that was ended on purpose is nobody’s fault, and canceled requests do not come back', async (t) => {
  const scheduler = startWith([a], { batchWaitMs: 50 });
  scheduler.infer(1, a);
  scheduler.infer(2, a);
  scheduler.tell({ type: 'cancel', id: 1 });
  scheduler.lose(true);
  t.strictSame(scheduler.queued(), [2]);
  for (let time = 0; time < 3; time++) {
    scheduler.nowMs += 50;
    t.strictSame(scheduler.comeUp(a), run('a', 2));
    t.strictSame(scheduler.lose(true), []);
  }
});

test('a bundle that takes the process with it twice is given up, with the requests that wait for it', async (t) => {
  const scheduler = startWith([a]);
  scheduler.tell({ type: 'load', bundle: b });
  scheduler.infer(1, b);
  scheduler.infer(2, a);
  t.strictSame(scheduler.lose(), []);
  t.strictSame(scheduler.idle(), [{ type: 'load', bundle: b }], 'it was asked for before the other was lost');
  t.strictSame(scheduler.lose(), [
    { type: 'rejectLoad', digest: 'b', failure: killed },
    { type: 'reject', id: 1, failure: killed },
  ]);
  t.strictSame([...scheduler.state.bundles.unloadable], [['b', killed.detail]]);
  t.strictSame(scheduler.comeUp(a), run('a', 2));
});

test('a bundle that was loaded before is tried again for as long as the engine is', async (t) => {
  const scheduler = startWith([a]);
  for (let time = 0; time < 5; time++) {
    t.strictSame(scheduler.lose(), []);
    t.strictSame(scheduler.idle(), [{ type: 'load', bundle: a }]);
  }
  scheduler.tell({ type: 'loaded', digest: 'a' });
  t.strictSame(scheduler.lose(), [], 'after it was loaded, before the child said that it is free');
  t.strictSame(scheduler.idle(), [{ type: 'load', bundle: a }]);
});

test('a bundle that does not load rejects whoever waits for it, until it is asked for again', async (t) => {
  const scheduler = startWith([a]);
  scheduler.tell({ type: 'load', bundle: b });
  scheduler.infer(1, b);
  scheduler.infer(2, a);
  t.strictSame(scheduler.tell({ type: 'unloadable', digest: 'b', failure: broken }), [
    { type: 'rejectLoad', digest: 'b', failure: broken },
    { type: 'reject', id: 1, failure: broken },
  ]);
  t.strictSame(scheduler.idle(), run('a', 2));
  t.strictSame([...scheduler.state.bundles.unloadable], [['b', broken.detail]]);
  scheduler.infer(3, b);
  t.strictSame(scheduler.idle(), [{ type: 'load', bundle: b }]);
  scheduler.tell({ type: 'loaded', digest: 'b' });
  t.equal(scheduler.state.bundles.unloadable.size, 0);
});

test('a bundle that loads and does not run is told as unloadable until it has run', async (t) => {
  const scheduler = startWith([a]);
  scheduler.infer(1, a);
  t.strictSame(scheduler.tell({ type: 'failed', id: 1, failure: broken }), [
    { type: 'reject', id: 1, failure: broken },
  ]);
  t.strictSame([...scheduler.state.bundles.unloadable.keys()], ['a']);
  scheduler.idle();
  scheduler.infer(2, a);
  scheduler.decoded(2);
  t.equal(scheduler.state.bundles.unloadable.size, 0);
});

test('the engine has caught up when the child is free and nothing is left to load', async (t) => {
  const scheduler = start();
  scheduler.tell({ type: 'load', bundle: a });
  t.notOk(scheduler.tellsReady({ type: 'idle' }), 'it loads');
  scheduler.tell({ type: 'loaded', digest: 'a' });
  t.ok(scheduler.tellsReady({ type: 'idle' }));
  scheduler.lose();
  t.notOk(scheduler.tellsReady({ type: 'infer', id: 1, bundle: a }), 'there is no child');
  t.notOk(scheduler.tellsReady({ type: 'idle' }), 'the next child has to load it again');
});

test('at the end everything that waits is rejected once, and nothing more is sent', async (t) => {
  const failure = { code: 'engine-closed', detail: 'The engine was closed.' };
  const scheduler = startWith([a], { batchWaitMs: 50 });
  scheduler.infer(1, a);
  scheduler.infer(2, a);
  scheduler.infer(3, a);
  scheduler.tell({ type: 'load', bundle: b });
  scheduler.tell({ type: 'cancel', id: 2 });
  t.strictSame(scheduler.tell({ type: 'end', failure }), [
    { type: 'reject', id: 1, failure },
    { type: 'reject', id: 3, failure },
    { type: 'rejectLoad', digest: 'b', failure },
  ]);
  t.equal(nextTickAtMs(scheduler.state), undefined);
  t.strictSame(scheduler.tell({ type: 'end', failure }), []);
  t.strictSame(scheduler.tell({ type: 'tick' }), []);
});

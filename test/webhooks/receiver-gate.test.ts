import { test } from 'tap';
import { createReceiverGate, type GateAnswer } from '../../src/webhooks/receiver-gate.ts';

/** A gate with a clock of its own. */
function gateOf(concurrency: number) {
  const clock = { now: 1_000_000 };
  const gate = createReceiverGate({ concurrency, now: () => clock.now, random: () => 0.5 });
  let names = 0;
  const enter = (receiver: string) => gate.enter(receiver, `d${names++}`);
  /** Takes places until there is none. */
  const fill = (receiver: string): Extract<GateAnswer, { open: true }>[] => {
    const places = [];
    for (let answer = enter(receiver); answer.open; answer = enter(receiver)) places.push(answer);
    return places;
  };
  return { gate, clock, enter, fill };
}

test('one receiver gets half of the places at most', (t) => {
  const { fill } = gateOf(8);
  t.equal(fill('a').length, 4);
  t.equal(fill('b').length, 4);
  t.end();
});

test('a receiver that does not answer is tried by one delivery at a time', (t) => {
  const { gate, clock, enter, fill } = gateOf(8);
  for (const place of fill('dead')) place.leave({ kind: 'failed' });
  t.ok(gate.dead('dead'));
  t.equal(fill('dead').length, 0, 'not at once');
  clock.now += 60_000;
  t.ok(enter('dead').open);
  t.notOk(enter('dead').open, 'the one that came in is the only one');
  t.equal(fill('alive').length, 4, 'others are not held up');
  t.end();
});

test('pauses double up to five minutes, and one answer ends them', (t) => {
  const { gate, clock, enter } = gateOf(8);
  const pauses = [];
  for (let tries = 0; tries < 12; tries++) {
    const from = clock.now;
    let answer = enter('dead');
    while (!answer.open) {
      clock.now += 1000;
      answer = enter('dead');
    }
    pauses.push((clock.now - from) / 1000);
    answer.leave({ kind: 'failed' });
  }
  t.strictSame(pauses, [0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
  t.ok(gate.dead('dead'));
  clock.now += 300_000;
  const answer = enter('dead');
  t.ok(answer.open);
  const called = answer.open ? answer.leave({ kind: 'answered' }) : [];
  t.equal(called.length, 2, 'the deliveries that waited longest are called');
  t.notOk(gate.dead('dead'));
  t.ok(enter('dead').open && enter('dead').open);
  t.end();
});

test('receivers that do not answer at once share half of the places, however many they are', (t) => {
  const { clock, enter } = gateOf(8);
  for (const name of ['a', 'b', 'c', 'd']) t.ok(enter(name).open);
  clock.now += 1001;
  for (const name of ['a', 'b', 'c', 'd']) t.notOk(enter(name).open, 'half of the places is theirs');
  t.ok(enter('quick').open);
  t.end();
});

test('Retry-After holds for the whole receiver', (t) => {
  const { clock, enter } = gateOf(8);
  const answer = enter('busy');
  if (answer.open) answer.leave({ kind: 'failed', retryAfterMs: 60_000 });
  const refused = enter('busy');
  t.notOk(refused.open);
  t.ok(!refused.open && refused.retryAt >= clock.now + 60_000);
  clock.now += 60_000;
  t.ok(enter('busy').open);
  t.end();
});

test('ten thousand deliveries to a dead receiver are spread over the time that looking at them takes', (t) => {
  const { clock, gate } = gateOf(8);
  for (let n = 0; n < 3; n++) {
    const answer = gate.enter('dead', 'x');
    if (answer.open) answer.leave({ kind: 'failed' });
  }
  let latest = 0;
  for (let n = 0; n < 10_000; n++) {
    const answer = gate.enter('dead', `d${n}`);
    if (!answer.open) latest = Math.max(latest, answer.retryAt - clock.now);
  }
  t.ok(latest > 1_000_000, 'no more than a few a second');
  t.ok(latest <= 3_700_000);
  t.end();
});

test('one waits in place for a receiver that answers quickly, and is woken by the end of an attempt', async (t) => {
  const { gate, clock, enter, fill } = gateOf(8);
  const first = enter('quick');
  t.notOk(gate.soon('quick'), 'nothing is known of it yet');
  clock.now += 20;
  if (first.open) first.leave({ kind: 'answered' });
  t.notOk(gate.soon('quick'), 'there is a place');
  const [place] = fill('quick');
  t.ok(gate.soon('quick'));
  const freed = gate.freed('quick');
  place!.leave({ kind: 'answered' });
  await freed;
  t.notOk(gate.soon('quick'));
  fill('quick');
  clock.now += 1001;
  t.notOk(gate.soon('quick'), 'a slow one is not waited for');
});

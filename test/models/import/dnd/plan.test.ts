import { test } from 'tap';
import { allConvolutions } from '../../../../src/models/import/dnd/convolutions.ts';
import { decoderMemory } from '../../../../src/models/import/dnd/graph-memory.ts';
import { chooseForms, directPlan, planDecoder } from '../../../../src/models/import/dnd/plan.ts';
import { PRESETS, presetArchitecture } from '../../../../src/models/import/dnd/presets.ts';
import {
  type Candidate,
  candidates,
  type DecoderPlan,
  TYPICAL_SPEED,
} from '../../../../src/models/import/spectral/candidates.ts';

const GIBIBYTE = 2 ** 30;
const architectureOf = (size: string) => presetArchitecture(PRESETS.find(({ name }) => name === size)!);
const commonSense = architectureOf('common-sense-0.5b');

const sum = (plan: DecoderPlan, of: 'seconds' | 'multiplyAdds' | 'weightBytes') =>
  [...plan.values()].reduce((total, candidate) => total + candidate[of], 0);
const formsOf = (plan: DecoderPlan) => [...plan].map(([name, { form }]) => [name, form]);

test('a plan keeps to its budget, and more memory never makes it slower', (t) => {
  for (const size of ['common-sense-0.5b', 'math-1.5b']) {
    const architecture = architectureOf(size);
    let slowest = sum(directPlan(architecture, 'f32'), 'seconds');
    for (const gibibytes of [12, 14, 17, 24, 96]) {
      const plan = planDecoder(architecture, { memoryBytes: gibibytes * GIBIBYTE });
      t.equal(plan.size, 5 * (architecture.features.length - 1));
      t.ok(decoderMemory(architecture, plan) <= gibibytes * GIBIBYTE, `${size} in ${gibibytes} GiB`);
      const seconds = sum(plan, 'seconds');
      t.ok(seconds <= slowest, `${seconds} s after ${slowest} s`);
      slowest = seconds;
    }
  }
  t.end();
});

test('the published 0.5B decoder takes eight times fewer multiply-adds in 14 GiB', (t) => {
  const direct = directPlan(commonSense, 'f32');
  t.equal(sum(direct, 'multiplyAdds'), 4_128_968_908_800, 'spec §4');
  const plan = planDecoder(commonSense, { memoryBytes: 14 * GIBIBYTE });
  t.ok(sum(plan, 'multiplyAdds') * 8 < sum(direct, 'multiplyAdds'));
  t.ok(sum(plan, 'seconds') * 4 < sum(direct, 'seconds'));
  t.end();
});

test('no single exchange would save time and still fit', (t) => {
  const memoryBytes = 12 * GIBIBYTE;
  const plan = planDecoder(commonSense, { memoryBytes });
  for (const one of allConvolutions(commonSense)) {
    for (const candidate of candidates(one)) {
      if (candidate.seconds >= plan.get(one.name)!.seconds) continue;
      const changed = new Map(plan).set(one.name, candidate);
      if (decoderMemory(commonSense, changed) <= memoryBytes) t.fail(`${one.name} could be faster`);
    }
  }
  t.ok(decoderMemory(commonSense, plan) > 0.95 * memoryBytes, 'nearly all of the budget is used');
  t.end();
});

test('with a budget that nothing fits the plan is the smallest there is', (t) => {
  const plan = planDecoder(commonSense, { memoryBytes: 1 });
  t.strictSame(formsOf(plan), formsOf(directPlan(commonSense, 'f32')));
  t.end();
});

test('kernels in half precision leave room for faster forms', (t) => {
  const memoryBytes = 9 * GIBIBYTE;
  const [single, half] = (['f32', 'f16'] as const).map((precision) =>
    planDecoder(commonSense, { memoryBytes, precision }),
  ) as [DecoderPlan, DecoderPlan];
  t.ok(decoderMemory(commonSense, half) <= memoryBytes);
  t.ok(sum(half, 'multiplyAdds') < sum(single, 'multiplyAdds'));
  t.end();
});

test('a machine that is slow at products computes everything directly', (t) => {
  const speed = { ...TYPICAL_SPEED, productMacs: 1e9 };
  const plan = planDecoder(commonSense, { memoryBytes: 64 * GIBIBYTE, speed });
  t.ok([...plan.values()].every(({ form }) => form.form === 'direct'));
  t.end();
});

test('forms are chosen for the least time with kernels of at most so many bytes', (t) => {
  const option = (seconds: number, megabytes: number): Candidate => ({
    form: { form: 'direct' },
    seconds,
    weightBytes: megabytes * 1e6,
    multiplyAdds: 1,
    workBytes: 1,
  });
  const options = new Map([
    ['a', [option(10, 1), option(4, 5), option(3, 20)]],
    ['b', [option(8, 2), option(1, 6)]],
  ]);
  const chosen = (megabytes: number) =>
    [...chooseForms(options, megabytes * 1e6).values()].map(({ seconds }) => seconds);
  t.strictSame(chosen(26), [3, 1], 'the fastest of each fits');
  t.strictSame(chosen(25), [4, 1]);
  t.strictSame(chosen(10), [10, 1], 'a megabyte saves more at b than at a');
  t.strictSame(chosen(6), [10, 8]);
  t.strictSame(chosen(0), [10, 8], 'nothing fits');
  t.end();
});

import { test } from 'tap';
import { readStep } from '../../src/arithmetic/step-text.ts';

test('steps as a person types them', async (t) => {
  t.strictSame(readStep('scale=0.5'), { type: 'scale', factor: 0.5 });
  t.strictSame(readStep('scale=-2,top=10'), { type: 'scale', factor: -2, top: 10 });
  t.strictSame(readStep('rank=4'), { type: 'rank', to: 4 });
  t.strictSame(readStep('energy=0.9'), { type: 'rank', energy: 0.9 });
  t.strictSame(readStep('modules=20'), { type: 'modules', keep: 20 });
});

test('others are refused with the forms there are', async (t) => {
  for (const text of [
    '',
    'scale',
    'scale=',
    'scale=x',
    'scale=99',
    'scale=1,top=',
    'scale=1,top=0',
    'scale=1,least=2',
    'rank=0',
    'rank=1.5',
    'rank=4,top=2',
    'energy=0',
    'energy=2',
    'modules=0',
    'turn=1',
  ]) {
    t.throws(() => readStep(text), { code: 'transform-unfit', message: /scale=FACTOR/ }, text);
  }
});

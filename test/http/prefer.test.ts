import { test } from 'tap';
import { preferredWaitSeconds } from '../../src/http/prefer.ts';

test('Prefer: wait is found among others, capped, and ignored when it cannot be read', async (t) => {
  for (const [header, wanted] of [
    ['wait=5', 5],
    ['wait = "5"', 5],
    ['respond-async, WAIT=7; foo=bar', 7],
    ['handling=lenient,wait=0', 0],
    ['wait=999', 60],
    [['return=minimal', 'wait=3'], 3],
    [undefined, undefined],
    ['', undefined],
    ['wait', undefined],
    ['wait=-1', undefined],
    ['wait=1.5', undefined],
    ['await=5', undefined],
    ['wait=5x', undefined],
  ] as const) {
    t.equal(preferredWaitSeconds(header, 60), wanted, String(header));
  }
});

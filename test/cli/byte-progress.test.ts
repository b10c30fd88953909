import { test } from 'tap';
import { createByteProgress } from '../../src/cli/byte-progress.ts';

const MiB = 1 << 20;

test('bytes of the total, the rate of the step and the time it has left', async (t) => {
  const shown: [number, string][] = [];
  let nowMs = 0;
  const show = createByteProgress(
    { update: (fraction, label) => shown.push([fraction, label]), stop: () => {} },
    { now: () => nowMs },
  );
  const at = (ms: number, label: string, doneBytes: number, totalBytes: number) => {
    nowMs = ms;
    show(label, doneBytes, totalBytes);
    return shown.at(-1);
  };
  t.strictSame(at(0, 'decoder', 100 * MiB, 1000 * MiB), [0.1, 'decoder 100.0 MiB of 1000.0 MiB']);
  t.strictSame(at(500, 'decoder', 150 * MiB, 1000 * MiB), [0.15, 'decoder 150.0 MiB of 1000.0 MiB']);
  t.strictSame(
    at(2000, 'decoder', 200 * MiB, 1000 * MiB),
    [0.2, 'decoder 200.0 MiB of 1000.0 MiB, 50.0 MiB/s, 0:16 left'],
    'what was there at the start is not counted into the rate',
  );
  t.strictSame(at(4000, 'encoder', 0, 0), [0, 'encoder'], 'a step without a total');
  t.strictSame(at(5000, 'digests', 0, 7200 * MiB), [0, 'digests 0 B of 7.0 GiB']);
  t.strictSame(at(7000, 'digests', 2 * MiB, 7200 * MiB), [
    2 / 7200,
    'digests 2.0 MiB of 7.0 GiB, 1.0 MiB/s, 1:59:58 left',
  ]);
  t.strictSame(
    at(8000, 'verification', MiB, 7200 * MiB),
    [1 / 7200, 'verification 1.0 MiB of 7.0 GiB'],
    'a step of the same total starts anew',
  );
  t.strictSame(
    at(9000, 'verification', 7200 * MiB, 7200 * MiB)?.[1],
    'verification 7.0 GiB of 7.0 GiB, 7.0 GiB/s, 0:00 left',
  );
});

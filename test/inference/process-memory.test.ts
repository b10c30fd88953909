import { test } from 'tap';
import { processMemory } from '../../src/inference/process-memory.ts';

test('the peak stays when memory is given back', (t) => {
  const before = processMemory();
  const bytes = 64 << 20;
  // Written, since pages count once they have been touched.
  let held: ArrayBuffer | undefined = new Uint8Array(bytes).fill(1).buffer;
  const during = processMemory();
  t.ok(during.residentBytes > before.residentBytes + bytes / 2);
  t.ok(during.ownBytes > before.ownBytes + bytes / 2);
  t.ok(during.ownBytes <= during.residentBytes);
  held = held.transfer(0);
  const after = processMemory();
  t.ok(after.residentBytes < during.residentBytes - bytes / 2);
  t.ok(after.peakResidentBytes > before.residentBytes + bytes / 2);
  t.equal(held.byteLength, 0);
  t.end();
});

test('without a kernel that tells, what Node knows', (t) => {
  const memory = processMemory({ statusFile: 'no-such-file' });
  t.ok(memory.residentBytes > 10e6);
  t.equal(memory.ownBytes, memory.residentBytes);
  t.ok(memory.peakResidentBytes >= memory.residentBytes * 0.9);
  t.end();
});

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { availableMemory } from '../../src/inference/available-memory.ts';

test('each cgroup’s limit holds, and its page cache counts as free', async (t) => {
  const cgroupRoot = await mkdtemp(join(tmpdir(), 'loradrop-cgroup-'));
  t.teardown(() => rm(cgroupRoot, { recursive: true }));
  const membershipFile = join(cgroupRoot, 'membership');
  const available = () =>
    availableMemory({ platform: 'linux', machineBytes: 1000, cgroupRoot, membershipFile });
  const write = async (directory: string, files: Record<string, string>) => {
    await mkdir(join(cgroupRoot, directory), { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(cgroupRoot, directory, name), `${text}\n`);
    }
  };
  t.equal(available(), 1000, 'no cgroup at all');

  await writeFile(membershipFile, '0::/pods/one\n');
  await write('pods/one', { 'memory.max': 'max', 'memory.current': '900', 'memory.stat': 'anon 900' });
  t.equal(available(), 1000, 'no limit');
  await write('pods', { 'memory.max': '1500', 'memory.current': '1200', 'memory.stat': 'anon 1100' });
  t.equal(available(), 300, 'a limit further up');
  await write('pods', { 'memory.stat': 'anon 1000\ninactive_file 150\nactive_file 50\nfile 250' });
  t.equal(available(), 500);
  await write('pods/one', { 'memory.max': '800' });
  t.equal(available(), 0, 'the tightest one, never less than nothing');
  await write('pods/one', { 'memory.max': '5000' });

  await writeFile(membershipFile, '9:cpu,cpuacct:/docker/one\n4:memory:/docker/one\n0::/\n');
  const one = { 'memory.usage_in_bytes': '600', 'memory.limit_in_bytes': '9223372036854771712' };
  await write('memory', one);
  t.equal(available(), 1000, 'version 1: no limit is a large one');
  await write('memory', {
    'memory.limit_in_bytes': '700',
    'memory.stat': 'inactive_file 1\ntotal_inactive_file 20\ntotal_active_file 3',
  });
  t.equal(available(), 123);
});

test('on this machine it is something, and less than all', (t) => {
  t.ok(availableMemory() > 0);
  t.ok(availableMemory() <= totalmem());
  t.equal(availableMemory({ platform: 'darwin' }), totalmem(), 'where nothing better is known');
  t.end();
});

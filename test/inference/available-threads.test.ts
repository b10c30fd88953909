import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { availableThreads } from '../../src/inference/available-threads.ts';

test('a cgroup v1 quota bounds the threads, wherever it is mounted', async (t) => {
  const cgroupRoot = await mkdtemp(join(tmpdir(), 'loradrop-cgroup-'));
  t.teardown(() => rm(cgroupRoot, { recursive: true }));
  const membershipFile = join(cgroupRoot, 'membership');
  await writeFile(membershipFile, '5:memory:/a\n3:cpuset:/a\n1:cpu,cpuacct:/docker/abc\n0::/\n');
  const inContainer = join(cgroupRoot, 'cpu,cpuacct');
  const onHost = join(inContainer, 'docker', 'abc');
  const threads = () => availableThreads({ parallelism: 8, cgroupRoot, membershipFile });
  const limit = async (directory: string, quotaUs: number) => {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'cpu.cfs_quota_us'), `${quotaUs}\n`);
    await writeFile(join(directory, 'cpu.cfs_period_us'), '100000\n');
  };
  t.equal(threads(), 8, 'no controller');
  await limit(inContainer, -1);
  t.equal(threads(), 8, 'no quota');
  await limit(inContainer, 350_000);
  t.equal(threads(), 3, 'the quota of the mount’s root');
  await limit(onHost, 200_000);
  t.equal(threads(), 2, 'the quota of the own group');
  await limit(onHost, 50_000);
  t.equal(threads(), 1, 'less than a CPU');
});

test('on this machine it is at least one and at most what Node may use', async (t) => {
  t.ok(availableThreads() >= 1);
  t.ok(availableThreads() <= availableParallelism());
});

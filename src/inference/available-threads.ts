/** How many threads this process may keep busy. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/**
 * CPUs this process may use: the affinity mask and the cgroup v2 quota (both read by Node), and the cgroup v1 quota, which
 * Node misses where the controller is mounted by itself or the process sits in a container. At least 1; a fraction of a
 * CPU counts as none, since a thread that is throttled holds up the others.
 */
export function availableThreads(
  options: { parallelism?: number; cgroupRoot?: string; membershipFile?: string } = {},
): number {
  const parallelism = options.parallelism ?? availableParallelism();
  const quota = cgroup1Quota(
    options.cgroupRoot ?? '/sys/fs/cgroup',
    options.membershipFile ?? '/proc/self/cgroup',
  );
  return Math.max(1, Math.min(parallelism, Math.floor(quota)));
}

/** CPUs of the cgroup v1 quota, or infinity where there is none. */
function cgroup1Quota(root: string, membershipFile: string): number {
  for (const line of (readText(membershipFile) ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]+):(.*)$/.exec(line) ?? [];
    if (!controllers?.split(',').includes('cpu')) continue;
    // Inside a container the own group is mounted as the root, although the membership names it from outside.
    for (const directory of [join(root, controllers, path!), join(root, controllers)]) {
      const quotaUs = Number(readText(join(directory, 'cpu.cfs_quota_us')) ?? Number.NaN);
      const periodUs = Number(readText(join(directory, 'cpu.cfs_period_us')) ?? Number.NaN);
      if (quotaUs > 0 && periodUs > 0) return quotaUs / periodUs;
    }
  }
  return Number.POSITIVE_INFINITY;
}

/** The file's text, or undefined where there is no such file or it may not be read. */
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

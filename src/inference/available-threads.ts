/** How many threads this process may keep busy. */
import { availableParallelism } from 'node:os';
import { type CgroupPlaces, cgroups } from './cgroups.ts';

/**
 * CPUs this process may use: the affinity mask and the cgroup v2 quota (both read by Node), and the cgroup v1 quota, which
 * Node misses where the controller is mounted by itself or the process sits in a container. At least 1; a fraction of a
 * CPU counts as none, since a thread that is throttled holds up the others.
 */
export function availableThreads(options: CgroupPlaces & { parallelism?: number } = {}): number {
  const parallelism = options.parallelism ?? availableParallelism();
  return Math.max(1, Math.min(parallelism, Math.floor(cgroup1Quota(options))));
}

/** CPUs of the cgroup v1 quota, or infinity where there is none. */
function cgroup1Quota(places: CgroupPlaces): number {
  for (const { version, read } of cgroups('cpu', places)) {
    if (version !== 1) continue;
    const quotaUs = Number(read('cpu.cfs_quota_us') ?? Number.NaN);
    const periodUs = Number(read('cpu.cfs_period_us') ?? Number.NaN);
    if (quotaUs > 0 && periodUs > 0) return quotaUs / periodUs;
  }
  return Number.POSITIVE_INFINITY;
}

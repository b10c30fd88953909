/** How much memory is left for this process to take. */
import { freemem, totalmem } from 'node:os';
import { type Cgroup, type CgroupPlaces, cgroups } from './cgroups.ts';

/**
 * Bytes that could be taken without swapping: what the machine has available, and no more than each cgroup leaves. Files in
 * the page cache count as free, also those a cgroup is charged for: reading a bundle fills it, and the kernel takes it back.
 * Elsewhere than on Linux, where no such figure is to be had, all of the machine's memory.
 */
export function availableMemory(
  options: CgroupPlaces & { platform?: NodeJS.Platform; machineBytes?: number } = {},
): number {
  const { platform = process.platform } = options;
  if (platform !== 'linux') return options.machineBytes ?? totalmem();
  // On Linux Node reads this from MemAvailable, which leaves room for the system itself.
  const machineBytes = options.machineBytes ?? freemem();
  return Math.max(0, Math.min(machineBytes, ...cgroups('memory', options).map(roomIn)));
}

/** Bytes a cgroup leaves, or infinity where it has no limit. */
function roomIn({ version, read }: Cgroup): number {
  const [limitFile, usageFile] =
    version === 2 ? ['memory.max', 'memory.current'] : ['memory.limit_in_bytes', 'memory.usage_in_bytes'];
  const limit = read(limitFile)?.trim();
  const usage = read(usageFile);
  if (limit === undefined || limit === 'max' || usage === undefined) return Number.POSITIVE_INFINITY;
  const stat = read('memory.stat') ?? '';
  // Version 1 counts the groups below apart, under names of their own.
  const prefix = version === 2 ? '' : 'total_';
  const cached = ['inactive_file', 'active_file']
    .map((name) => Number(new RegExp(`^${prefix}${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0))
    .reduce((sum, bytes) => sum + bytes);
  return Number(limit) - Number(usage) + cached;
}

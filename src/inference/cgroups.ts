/** The control groups of Linux that hold this process. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A control group; `read` gives the text of one of its files, or undefined where there is none or it may not be read. */
export type Cgroup = { readonly version: 1 | 2; read(file: string): string | undefined };

/** Where control groups are looked for. */
export type CgroupPlaces = { readonly cgroupRoot?: string; readonly membershipFile?: string };

/**
 * The control groups this process is in for a controller: every level of version 2, whose limits all hold; of version 1
 * the own group and the root, which inside a container is the own one. Empty where there are none.
 */
export function cgroups(controller: 'cpu' | 'memory', places: CgroupPlaces = {}): Cgroup[] {
  const { cgroupRoot = '/sys/fs/cgroup', membershipFile = '/proc/self/cgroup' } = places;
  const found: Cgroup[] = [];
  const add = (version: 1 | 2, directory: string) =>
    found.push({ version, read: (file) => readText(join(directory, file)) });
  for (const line of (readText(membershipFile) ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined || controllers === undefined) continue;
    if (controllers === '') {
      for (let level = path; ; level = dirname(level)) {
        add(2, join(cgroupRoot, level));
        if (level === '/') break;
      }
    } else if (controllers.split(',').includes(controller)) {
      // Inside a container the own group is mounted as the root, although the membership names it from outside.
      add(1, join(cgroupRoot, controllers, path));
      add(1, join(cgroupRoot, controllers));
    }
  }
  return found;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

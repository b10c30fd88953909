/** A group of processes with a bound on their memory, which the kernel keeps by killing: what a container's limit is. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { until } from '../../helpers/loradrop-process.ts';

const MiB = 1 << 20;
/** What the group may still take when it is bounded, and what then asks for memory: more. */
const ROOM_BYTES = 16 * MiB;
const HOG_MIB = 64;

/** Processes whose memory can be bounded. */
export type MemoryGroup = {
  /** Takes a process in, with the children it will have. */
  add(pid: number): void;
  /** Leaves the group almost no room, has something else in it ask for more, and lifts the bound: the kernel ends its largest process. Answers how many it has ended. */
  exhaust(): Promise<number>;
};

/** Files of the kernel's two kinds of groups. */
const KINDS = [
  {
    root: '/sys/fs/cgroup/memory',
    limit: 'memory.limit_in_bytes',
    usage: 'memory.usage_in_bytes',
    none: '-1',
    events: 'memory.oom_control',
  },
  {
    root: '/sys/fs/cgroup',
    limit: 'memory.max',
    usage: 'memory.current',
    none: 'max',
    events: 'memory.events',
  },
] as const;

/** Makes a group, removed with the test. Undefined where this process may not make one. */
export function makeMemoryGroup(t: Test, name: string): MemoryGroup | undefined {
  for (const { root, limit, usage, none, events } of KINDS) {
    const directory = join(root, `loradrop-${name}-${randomBytes(4).toString('hex')}`);
    try {
      mkdirSync(directory);
    } catch {
      continue;
    }
    // Processes of it are gone when the test ends, and the kernel says so a moment later.
    t.teardown(() => until(async () => isRemoved(directory), 10_000));
    if (!existsSync(join(directory, limit))) continue;
    const read = (file: string) => readFileSync(join(directory, file), 'utf8');
    const kills = () => Number(/^oom_kill (\d+)/m.exec(read(events))?.[1] ?? 0);
    return {
      add: (pid) => writeFileSync(join(directory, 'cgroup.procs'), String(pid)),
      async exhaust() {
        const before = kills();
        try {
          writeFileSync(join(directory, limit), String(Number(read(usage)) + ROOM_BYTES));
          // The kernel looks for another victim than the one who asks.
          const script = `echo $$ > ${directory}/cgroup.procs; echo -999 > /proc/self/oom_score_adj; head -c ${HOG_MIB}M /dev/zero | tail | wc -c`;
          const hog = spawn('sh', ['-c', script], { stdio: 'ignore' });
          await once(hog, 'exit');
        } finally {
          writeFileSync(join(directory, limit), none);
        }
        return kills() - before;
      },
    };
  }
  return undefined;
}

function isRemoved(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return !existsSync(directory);
  }
}

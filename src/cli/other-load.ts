/** How busy the machine was with other things. */
import { cpus } from 'node:os';

/** Milliseconds of all processors together: idle, in all, and of this process. */
type ProcessorTimes = { readonly idleMs: number; readonly totalMs: number; readonly ownMs: number };

/** Starts watching; the returned function tells which share of the processors' time other processes have taken since. */
export function watchOtherLoad(options: { times?: () => ProcessorTimes } = {}): () => number {
  const { times = processorTimes } = options;
  const before = times();
  return () => {
    const after = times();
    const total = after.totalMs - before.totalMs;
    const others = total - (after.idleMs - before.idleMs) - (after.ownMs - before.ownMs);
    return total > 0 ? Math.max(0, others / total) : 0;
  };
}

function processorTimes(): ProcessorTimes {
  const each = cpus().map(({ times }) => times);
  const { user, system } = process.cpuUsage();
  return {
    idleMs: each.reduce((sum, { idle }) => sum + idle, 0),
    totalMs: each.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0),
    ownMs: (user + system) / 1000,
  };
}

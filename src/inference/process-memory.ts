/** What this process holds of the memory. */
import { readFileSync } from 'node:fs';

/** Bytes of this process in memory. */
export type ProcessMemory = {
  readonly residentBytes: number;
  /** The most `residentBytes` has been since the process started. */
  readonly peakResidentBytes: number;
  /** Resident bytes that are no pages of files: what the system cannot take back without swapping. */
  readonly ownBytes: number;
};

/**
 * Reads {@link ProcessMemory} from the kernel's status of the process. Where there is none (macOS), the peak is that of the
 * system's accounting, and everything counts as the process's own.
 */
export function processMemory(options: { statusFile?: string } = {}): ProcessMemory {
  let status = '';
  try {
    status = readFileSync(options.statusFile ?? '/proc/self/status', 'utf8');
  } catch {
    // Below.
  }
  const bytesOf = (name: string) => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  };
  const residentBytes = bytesOf('VmRSS') ?? process.memoryUsage.rss();
  return {
    residentBytes,
    // Not `maxRSS` where there is better: on Linux a child process starts with its parent's.
    peakResidentBytes: bytesOf('VmHWM') ?? process.resourceUsage().maxRSS * 1024,
    ownBytes: (bytesOf('RssAnon') ?? residentBytes) + (bytesOf('RssShmem') ?? 0),
  };
}

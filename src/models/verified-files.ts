/**
 * Which files of bundles have been verified, so that a restart does not hash gigabytes again. A file is known by what the
 * kernel says of it: its place (device and inode), its size, and the time of its last change (ctime), which every write,
 * truncation, rename and change of owner or of another time sets, and which nobody can set to a value of their choice
 * without the rights to change the machine's clock or its disk. Whoever cannot write a file can therefore not bring about
 * that another content passes for it; whoever can write this list and not the files can only have files skipped that are
 * what they were.
 */
import type { BigIntStats } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { SHA256_PATTERN, type Sha256 } from '../base/digest.ts';
import { readPrivateFile, replacePrivateFile } from '../base/private-file.ts';

/** Files that have been verified, and those of earlier starts. */
export type VerifiedFiles = {
  /** Whether the file is, unchanged, one that was verified to have this digest. */
  isKnown(path: string, sha256: Sha256): Promise<boolean>;
  /** Calls `verify`, and remembers the file as one of this digest, where it did not change meanwhile. */
  remember(path: string, sha256: Sha256, verify: () => Promise<void>): Promise<void>;
  /** Writes the list for the next start. A list that cannot be written is none: files are verified again. */
  save(): Promise<void>;
};

/** After a week a file is read again, so that a disk that loses bits is noticed. */
const MAX_AGE_MS = 7 * 24 * 3_600_000;
/** A change right after another may get the same time: the kernel's clock for files has steps of some milliseconds. */
const SETTLED_MS = 2_000;
/** Files that are remembered: those of dozens of bundles. */
const MAX_FILES = 4096;
const MAX_LIST_BYTES = 2 << 20;
/** File systems of this machine's own kernel, which keeps their times: ext4, XFS, Btrfs, ZFS, tmpfs, overlay. */
const LOCAL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630,
]);

const digits = Type.String({ pattern: '^[0-9]{1,24}$' });
const Entry = Type.Object({
  device: digits,
  inode: digits,
  bytes: digits,
  changedNs: digits,
  sha256: Type.String({ pattern: SHA256_PATTERN }),
  verifiedAt: Type.Number(),
});
type Entry = Static<typeof Entry>;
const validator = Compile(Type.Array(Entry, { maxItems: MAX_FILES }));

/** Opens the list in a file, which is one of the service's own. A list that is damaged or not there is an empty one. */
export async function openVerifiedFiles(path: string, { now = Date.now } = {}): Promise<VerifiedFiles> {
  const before = await readList(path);
  const entries = new Map(before.map((entry) => [placeOf(entry), entry]));
  let changed = false;

  return {
    async isKnown(file, sha256) {
      const facts = factsOf(await stat(file, { bigint: true }));
      const known = entries.get(placeOf(facts));
      if (!known || known.sha256 !== sha256 || now() - known.verifiedAt > MAX_AGE_MS) return false;
      return known.bytes === facts.bytes && known.changedNs === facts.changedNs && (await isLocal(file));
    },
    async remember(file, sha256, verify) {
      const startedAt = now();
      const facts = factsOf(await stat(file, { bigint: true }));
      await verify();
      const after = factsOf(await stat(file, { bigint: true }));
      const settled = startedAt - Number(BigInt(facts.changedNs) / 1_000_000n) > SETTLED_MS;
      if (!settled || after.changedNs !== facts.changedNs || after.inode !== facts.inode) return;
      entries.set(placeOf(facts), { ...facts, sha256, verifiedAt: startedAt });
      changed = true;
    },
    async save() {
      if (!changed) return;
      const latest = [...entries.values()].sort((a, b) => b.verifiedAt - a.verifiedAt).slice(0, MAX_FILES);
      await replacePrivateFile(path, `${JSON.stringify(latest)}\n`).catch(() => undefined);
    },
  };
}

async function readList(path: string): Promise<Entry[]> {
  try {
    const value: unknown = JSON.parse((await readPrivateFile(path, MAX_LIST_BYTES))?.text ?? '[]');
    return validator.Check(value) ? value : [];
  } catch {
    return [];
  }
}

function placeOf({ device, inode }: Pick<Entry, 'device' | 'inode'>): string {
  return `${device}:${inode}`;
}

function factsOf({ dev, ino, size, ctimeNs }: BigIntStats) {
  return { device: String(dev), inode: String(ino), bytes: String(size), changedNs: String(ctimeNs) };
}

/** Whether the kernel itself keeps the file's times; a server elsewhere may say what it likes. */
async function isLocal(path: string): Promise<boolean> {
  return LOCAL_FILE_SYSTEMS.has((await statfs(path)).type);
}

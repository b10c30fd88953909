/** Telling whether the process that began a draft directory still lives, from the directory's name alone. */
import { randomBytes } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { sha256 } from '../base/digest.ts';
import { hasCode } from './file-system-errors.ts';

/** Who owns a draft: a process of a machine or container, told apart from a later one of the same number. */
export type DraftOwner = {
  /** Names the process table the number counts in. */
  readonly host: string;
  readonly pid: number;
  /** When the process started, in ticks since boot; empty where the system does not tell. */
  readonly started: string;
};

const NAME = /^([0-9a-f]{16})-([0-9]{1,10})-([0-9]{0,20})-[0-9a-f]{16}$/;

/** This process as an owner. */
export async function currentOwner(): Promise<DraftOwner> {
  // Containers may share a host name and a volume and still count processes apart.
  const processTable = await readlink('/proc/self/ns/pid').catch(() => '');
  return {
    host: sha256(`${hostname()}\n${processTable}`).slice(0, 16),
    pid: process.pid,
    started: await startOf(process.pid),
  };
}

/** A new directory name for a draft of this owner. */
export function draftName({ host, pid, started }: DraftOwner): string {
  return `${host}-${pid}-${started}-${randomBytes(8).toString('hex')}`;
}

/**
 * Whether the owner in a draft's name lives: `yes`, `no`, or `unknown` where it belongs to another machine or container
 * or the name is none of {@link draftName}.
 */
export async function ownerLives(name: string, self: DraftOwner): Promise<'yes' | 'no' | 'unknown'> {
  const [, host, pid, started] = NAME.exec(name) ?? [];
  if (host !== self.host) return 'unknown';
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // The process of another account answers EPERM, and lives.
    if (!hasCode(error, 'EPERM')) return 'no';
  }
  return (await startOf(Number(pid))) === started ? 'yes' : 'no';
}

async function startOf(pid: number): Promise<string> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The command name, in brackets, may hold spaces; the start is field 22, the 20th behind it (proc(5)).
  return status.slice(status.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

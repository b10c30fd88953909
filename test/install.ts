/** How the setups of the tests run installers: several at a time, since most of each one's time is spent waiting for a registry. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** Runs a program; whether it went well, and what it printed. Its complaints are shown. */
export async function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ succeeded: boolean; stdout: string }> {
  const child = spawn(program, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false));
    child.once('close', (code) => resolve(code === 0));
  });
  const [stdout, succeeded] = await Promise.all([text(child.stdout), ended]);
  return { succeeded, stdout };
}

/** Runs a program; true when it went well. */
export async function succeeds(
  program: string,
  args: readonly string[],
  environment?: Readonly<Record<string, string>>,
): Promise<boolean> {
  return (await run(program, args, environment)).succeeded;
}

/** Does something in a directory that is gone afterwards. */
export async function inScratch(work: (directory: string) => Promise<boolean>): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), 'loradrop-tools-'));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

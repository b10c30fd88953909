import { spawnSync } from 'node:child_process';
import { chown } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Test } from 'tap';
import {
  findAccount,
  keepServer,
  requireProgram,
  serverDirectory,
  serverPort,
  startForTest,
  type TestServer,
} from './services.ts';

async function postgresAnswers(connectionString: string): Promise<boolean> {
  const client = new Client({ connectionString });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

async function launchPostgres(): Promise<TestServer> {
  const [initdb, postgres] = [requireProgram('initdb'), requireProgram('postgres')];
  const account = process.getuid?.() === 0 ? findAccount('postgres') : undefined;
  const directory = await serverDirectory('postgres');
  if (account) await chown(directory, account.uid, account.gid);
  const data = join(directory, 'data');
  const made = spawnSync(
    initdb,
    ['-D', data, '-U', 'loradrop', '--auth=trust', '--encoding=UTF8', '--no-locale', '--no-sync'],
    { cwd: directory, encoding: 'utf8', ...account },
  );
  if (made.status !== 0) throw new Error(`initdb failed:\n${made.stdout}${made.stderr}`);
  const port = await serverPort();
  const url = `postgres://loradrop@127.0.0.1:${port}/postgres`;
  return keepServer({
    url,
    port,
    directory,
    // Killing processes does not need what fsync protects from, and the tests are quicker without.
    command: [
      postgres,
      '-D',
      data,
      '-p',
      String(port),
      '-k',
      directory,
      '-h',
      '127.0.0.1',
      '-c',
      'fsync=off',
    ],
    account,
    // "Immediate shutdown": the postmaster takes its children with it and recovers at the next start, as after a crash.
    killSignal: 'SIGQUIT',
    answers: () => postgresAnswers(url),
  });
}

/**
 * Starts a PostgreSQL server on a port and directory of its own. With a test it is stopped at the test's end, and without
 * the programs the test is skipped and undefined comes back; without a test it is the caller's to stop.
 */
export function startPostgres(): Promise<TestServer>;
export function startPostgres(t: Test): Promise<TestServer | undefined>;
export async function startPostgres(t?: Test): Promise<TestServer | undefined> {
  return t ? startForTest(t, 'initdb', launchPostgres) : launchPostgres();
}

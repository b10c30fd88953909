/**
 * Installs the servers that the tests start, where they are missing and this may be done: on Debian, as root. Prints one
 * line. Where it cannot be done, the tests that need them are skipped, which this says loudly; in CI that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { findProgram } from './helpers/services.ts';

/** A server program of each package. */
const PACKAGES = { 'redis-server': 'redis-server', postgresql: 'initdb' };

const missing = () => Object.entries(PACKAGES).filter(([, program]) => !findProgram(program));

function aptGet(...args: string[]): boolean {
  const { status } = spawnSync('apt-get', ['-qq', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return status === 0;
}

const wanted = missing().map(([name]) => name);
if (wanted.length > 0 && process.getuid?.() === 0 && findProgram('apt-get')) {
  if (aptGet('update') && aptGet('install', '-y', '--no-install-recommends', ...wanted)) {
    console.log(`installed for the tests: ${wanted.join(', ')}`);
  }
}
const left = missing().map(([name]) => name);
if (left.length > 0) {
  console.error(`
  ****************************************************************************
  *  NOT INSTALLED: ${left.join(', ')}
  *  Everything that needs them is NOT TESTED. Install them, or run this as
  *  root on Debian.
  ****************************************************************************
`);
  if (process.env['CI']) process.exit(1);
}

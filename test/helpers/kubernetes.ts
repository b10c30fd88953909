/** The tools that check manifests, and manifests as they are rendered. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { parseAllDocuments } from 'yaml';
import { findProgram, requireProgram, TOOLS_DIRECTORY } from './services.ts';

/** A kubectl of our own version: the one of the machine may be years old. */
export const KUBECTL = 'kubectl-1.35';
/** What reads compose files as `docker compose` does. */
export const COMPOSE_LOADER = 'compose-spec';
/** Definitions of the custom resources that manifests use. */
export const CRD_DIRECTORY = join(TOOLS_DIRECTORY, 'crds');
/** The newest Kubernetes release and the oldest that is still supported. */
export const RELEASES = ['1.37', '1.35'] as const;

/** A part of a manifest. */
// biome-ignore lint/suspicious/noExplicitAny: manifests have as many shapes as there are kinds.
export type Loose = any;
/** A manifest, as far as tests look into it. */
export type Manifest = {
  kind: string;
  metadata: { name: string; namespace?: string };
  [field: string]: Loose;
};

/** What is missing of the tools, in words; undefined when nothing is. */
export function missingTools(): string | undefined {
  const programs = [KUBECTL, 'kubernetes-validate'].filter((name) => !findProgram(name));
  return [...programs, ...(existsSync(CRD_DIRECTORY) ? [] : ['CRDs'])].join(', ') || undefined;
}

/** True when the tools are there; else the test is skipped, loudly, and in CI it fails. */
export function haveTools(t: Test, missing = missingTools()): boolean {
  if (missing === undefined) return true;
  const reason = `${missing}: not installed; run: node test/setup-services.ts`;
  if (process.env['CI']) t.fail(reason);
  else t.pass('real tools', { skip: `NOT TESTED: ${reason}` });
  return false;
}

/** The manifests of a kustomization, as text. */
export function render(directory: string): string {
  const { status, stdout, stderr } = spawnSync(requireProgram(KUBECTL), ['kustomize', directory], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`${directory} cannot be rendered: ${stderr}`);
  return stdout;
}

/** Manifests as objects. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

/** Checks sets of manifests against the schemas of {@link RELEASES} and of custom resources. */
export function validate(sets: Readonly<Record<string, string>>): {
  readonly checked: number;
  readonly problems: readonly string[];
} {
  const python = join(TOOLS_DIRECTORY, 'kubernetes', 'bin', 'python');
  const script = join(import.meta.dirname, '..', 'k8s', 'validate_manifests.py');
  // Those of the same group alone: other files of the folders are not definitions that we use.
  const crds = readdirSync(CRD_DIRECTORY)
    .filter((name) =>
      /^(keda\.sh|monitoring\.coreos\.com)_(scaledobjects|podmonitors|prometheusrules)\.yaml$/.test(name),
    )
    .map((name) => join(CRD_DIRECTORY, name));
  const { status, stdout, stderr } = spawnSync(python, [script, ...crds], {
    input: JSON.stringify({ releases: RELEASES, sets }),
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

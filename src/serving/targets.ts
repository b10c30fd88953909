/** Deploy targets: groups of model servers that the operator lets tenants hand adapters over to. */

import { readFile } from 'node:fs/promises';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { TENANT_PATTERN } from '../base/ids.ts';
import { parseJson } from '../base/parse-json.ts';
import { servingErrors } from './errors.ts';

/** The servers that there is code for. */
export const SERVER_KINDS = ['vllm', 'sglang', 'lorax', 'llama-server'] as const;
/** One of {@link SERVER_KINDS}. */
export type ServerKind = (typeof SERVER_KINDS)[number];

/** The form of a target's name, which requests and metrics carry. */
export const TARGET_NAME_PATTERN = '^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$';
/** Largest file: thousands of targets, and read in milliseconds. */
const MAX_FILE_BYTES = 1 << 20;
/** Most replicas that one target names: each is asked several times a minute. */
const MAX_REPLICAS = 64;
/** Whose targets hold for every tenant. */
const EVERY_TENANT = '*';

const closed = { additionalProperties: false } as const;
const TargetSchema = Type.Object(
  {
    name: Type.String({ pattern: TARGET_NAME_PATTERN }),
    kind: Type.Enum([...SERVER_KINDS]),
    /** Base addresses, one a replica. */
    replicas: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: MAX_REPLICAS })),
    /** In place of `replicas`: an address whose host name resolves to the addresses of all replicas. */
    dns: Type.Optional(Type.String()),
    /** Names of the bases that the servers run, as adapters have them in `base_model_name_or_path`. */
    bases: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
    /** Largest rank that the servers take, as in vLLM’s `--max-lora-rank`. */
    maxRank: Type.Integer({ minimum: 1, maximum: 4096 }),
    tenants: Type.Array(Type.String(), { minItems: 1 }),
    /** How the servers get at an adapter: as a repository of the Hub view, in a directory, or in object storage. */
    reach: Type.Union([
      Type.Literal('hub'),
      Type.Literal('s3'),
      Type.Object({ directory: Type.String({ pattern: '^/' }) }, closed),
    ]),
    /** File with the key that the servers ask for; read at every call, so that it can be replaced. */
    keyFile: Type.Optional(Type.String()),
  },
  closed,
);

/** A target as the file has it. */
export type Target = Static<typeof TargetSchema>;

const checkFile = Compile(
  Type.Object({ version: Type.Literal(1), targets: Type.Array(TargetSchema) }, closed),
);

/** What is known of an adapter before it is handed over; absent is what is not known yet. */
export type AdapterFit = {
  readonly base: string;
  readonly rank?: number | undefined;
  readonly gguf: boolean;
};

/** The targets in the file’s text. Errors: `deploy-targets-invalid`, with where and why. */
export function parseTargets(text: string): Target[] {
  const value = parseJson(text, checkFile, (detail, cause) => servingErrors.targets(detail, { cause }));
  const { targets } = value;
  for (const [index, target] of targets.entries()) {
    const fault = faultOf(target);
    if (fault !== undefined) throw servingErrors.targets(`At "/targets/${index}" ${fault}.`);
  }
  if (new Set(targets.map(({ name }) => name)).size < targets.length) {
    throw servingErrors.targets('Two targets have the same name.');
  }
  return targets;
}

/** Reads the file that the setting names; without one there are no targets. Errors: `deploy-targets-invalid`. */
export async function readTargets(path: string | undefined): Promise<Target[]> {
  if (path === undefined) return [];
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw servingErrors.targets('It cannot be read; its path, owner or mode may be wrong.', { cause });
  });
  if (text.length > MAX_FILE_BYTES) throw servingErrors.targets(`It has more than ${MAX_FILE_BYTES} bytes.`);
  return parseTargets(text);
}

function faultOf({ kind, replicas, dns, tenants, reach }: Target): string | undefined {
  if ((replicas === undefined) === (dns === undefined)) return 'there must be either replicas or dns';
  if (![...(replicas ?? []), dns].every((url) => url === undefined || isServerUrl(url)))
    return 'an address is not http:// or https:// with a host alone; keys belong into keyFile';
  const tenant = new RegExp(TENANT_PATTERN);
  if (!tenants.every((name) => name === EVERY_TENANT || tenant.test(name))) return 'a tenant is none';
  if (reach === 's3' && kind !== 'lorax')
    return 's3 is a way for LoRAX alone; the other servers read no s3://';
  if (kind === 'llama-server' && (reach === 'hub' || reach === 's3'))
    return 'llama-server reads adapters from a directory alone';
  return undefined;
}

function isServerUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!/^https?:$/.test(url?.protocol ?? '')) return false;
  return url!.username === '' && url!.password === '' && url!.pathname === '/' && url!.search === '';
}

/** The target of this name that the tenant may use. Errors: `deploy-target-unknown`, also for those of others. */
export function findTarget(targets: readonly Target[], tenant: string, name: string): Target {
  const target = targets.find((each) => each.name === name && mayUse(each, tenant));
  if (target) return target;
  const names = targets.filter((each) => mayUse(each, tenant)).map((each) => each.name);
  throw servingErrors.unknownTarget(
    names.length === 0
      ? 'The operator has set up none that your tenant may use.'
      : `Yours are ${names.join(', ')}.`,
  );
}

function mayUse({ tenants }: Target, tenant: string): boolean {
  return tenants.includes(tenant) || tenants.includes(EVERY_TENANT);
}

/** Refuses an adapter that the servers of a target cannot take. Errors: `deploy-unfit`. */
export function checkFit(target: Target, { base, rank, gguf }: AdapterFit): void {
  if (!target.bases.includes(base)) {
    throw servingErrors.unfit(
      `${target.name} serves ${target.bases.join(', ')}; the adapter is for ${base}.`,
    );
  }
  if (rank !== undefined && rank > target.maxRank) {
    throw servingErrors.unfit(
      `${target.name} takes ranks up to ${target.maxRank}; the adapter has ${rank}. A transform of the type rank cuts it down.`,
    );
  }
  if (target.kind === 'llama-server' && !gguf) {
    throw servingErrors.unfit(`${target.name} takes GGUF alone: make the adapter with "format": "gguf".`);
  }
}

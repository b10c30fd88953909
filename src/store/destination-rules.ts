/** Which places in object storage the operator lets tenants have copies sent to. */
import { DEFAULT_TENANT, isTenant } from '../base/ids.ts';
import { destinationErrors } from './errors.ts';
import { isBucketName, isPrefixSegment } from './s3-layout.ts';

/** A place in object storage as a request names it. */
export type DestinationPlace = {
  readonly bucket: string;
  /** Without a slash at either end; empty for the whole bucket. */
  readonly prefix: string;
};

/** How the server of a destination is reached where it is not the store's own. */
export type DestinationServer = {
  readonly endpoint?: string;
  readonly region?: string;
  /** Profile of the AWS configuration files, which have its credentials. */
  readonly profile?: string;
  readonly forcePathStyle?: boolean;
};

/** A place that copies may be sent to, with all that lies below it. */
export type DestinationRule = DestinationPlace & {
  /** Whose copies; `*` for every tenant's, each below a prefix that ends with the tenant's name. */
  readonly tenant: string;
  readonly server: DestinationServer;
};

/** Whose entries hold for every tenant. */
const EVERY_TENANT = '*';
/** Longest prefix: with an adapter's id and a file's name it has to stay below the 1,024 bytes of a key. */
export const MAX_PREFIX_CHARS = 512;
const ENTRY = /^(?:([^=?/]+)=)?s3:\/\/([^/?]*)\/?([^?]*)(?:\?(.*))?$/;
const PROFILE = /^[A-Za-z0-9_.@+-]{1,64}$/;
const REGION = /^[a-z0-9-]{1,64}$/;

/**
 * Reads the setting: entries `[tenant=]s3://bucket[/prefix][?endpoint=…&region=…&profile=…&pathStyle=…]`, separated by
 * spaces. An entry without a tenant is the default tenant's. Errors: `destination-settings-invalid`.
 */
export function parseDestinationRules(text: string): DestinationRule[] {
  const rules = text
    .split(/\s+/)
    .filter(Boolean)
    .map((entry, index) => {
      const wrong = (detail: string) =>
        destinationErrors.settings(`Entry ${index + 1} of DESTINATIONS ${detail}.`);
      const [, tenant = DEFAULT_TENANT, bucket = '', rest = '', query = ''] = ENTRY.exec(entry) ?? [];
      if (!isBucketName(bucket)) throw wrong('names no bucket: its form is [tenant=]s3://bucket/prefix');
      if (tenant !== EVERY_TENANT && !isTenant(tenant)) throw wrong('names no tenant before the “=”');
      const prefix = rest.replace(/\/$/, '');
      if (!isPrefix(prefix)) throw wrong('has a prefix that none can be');
      return { tenant, bucket, prefix, server: parseServer(query, wrong) };
    });
  const places = rules.map(({ tenant, bucket, prefix }) => `${tenant}=${bucket}/${prefix}`);
  if (new Set(places).size < places.length) {
    throw destinationErrors.settings('Two entries of DESTINATIONS name one place of one tenant.');
  }
  return rules;
}

function parseServer(query: string, wrong: (detail: string) => Error): DestinationServer {
  const known = new Set(['endpoint', 'region', 'profile', 'pathStyle']);
  const fields = new URLSearchParams(query);
  for (const name of fields.keys()) {
    if (!known.has(name)) throw wrong(`has “${name}”, which is not one of ${[...known].join(', ')}`);
  }
  const [endpoint, region, profile, pathStyle] = [...known].map((name) => fields.get(name) ?? undefined);
  if (endpoint !== undefined && !isEndpoint(endpoint)) {
    throw wrong('has an endpoint that is no http:// or https:// address; credentials belong into a profile');
  }
  if (region !== undefined && !REGION.test(region)) throw wrong('has a region that none can be');
  if (profile !== undefined && !PROFILE.test(profile)) throw wrong('has a profile that none can be');
  if (pathStyle !== undefined && pathStyle !== 'true' && pathStyle !== 'false') {
    throw wrong('has a pathStyle other than true and false');
  }
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    ...(profile !== undefined && { profile }),
    ...(pathStyle !== undefined && { forcePathStyle: pathStyle === 'true' }),
  };
}

function isEndpoint(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return /^https?:$/.test(url?.protocol ?? '') && url?.username === '' && url.password === '';
}

function isPrefix(prefix: string): boolean {
  if (prefix.length > MAX_PREFIX_CHARS) return false;
  return prefix === '' || prefix.split('/').every(isPrefixSegment);
}

/**
 * The place that a request names, without a slash at the prefix's end. Errors: `destination-invalid` for what can be no
 * bucket or prefix.
 */
export function readPlace({ bucket, prefix = '' }: { bucket: string; prefix?: string }): DestinationPlace {
  const wrong = (detail: string, field: string) =>
    destinationErrors.invalid(detail, {
      fields: [{ pointer: `/destination/${field}`, message: 'is not one' }],
    });
  if (!isBucketName(bucket)) {
    throw wrong('A bucket’s name has 3 to 63 lower-case letters, digits, hyphens and dots.', 'bucket');
  }
  const place = { bucket, prefix: prefix.replace(/(?<=.)\/$/, '') };
  if (!isPrefix(place.prefix)) {
    throw wrong(
      `A prefix has at most ${MAX_PREFIX_CHARS} characters: parts of letters, digits, “_”, “-” and “.” with a slash between them, none of them empty, “.” or “..”.`,
      'prefix',
    );
  }
  return place;
}

/** Where people find a copy. */
export function copyLocation({ bucket, prefix }: DestinationPlace, id: string): string {
  return `s3://${[bucket, ...(prefix === '' ? [] : [prefix]), id].join('/')}`;
}

/** The rule that lets a tenant have copies sent to a place: of several the one for the longest prefix. */
export function findRule(
  rules: readonly DestinationRule[],
  tenant: string,
  place: DestinationPlace,
): DestinationRule | undefined {
  const below = (outer: string) => outer === '' || `${place.prefix}/`.startsWith(`${outer}/`);
  const own = (rule: DestinationRule) => rule.tenant === tenant;
  return rules
    .filter((rule) => rule.bucket === place.bucket && (own(rule) || rule.tenant === EVERY_TENANT))
    .map((rule) => ({ rule, prefix: allowedPrefix(rule, tenant) }))
    .filter(({ prefix }) => below(prefix))
    .sort((a, b) => b.prefix.length - a.prefix.length || Number(own(b.rule)) - Number(own(a.rule)))[0]?.rule;
}

/** Two tenants may use one id, so what every tenant may use has the tenant's name in it. */
function allowedPrefix({ tenant: whose, prefix }: DestinationRule, tenant: string): string {
  if (whose !== EVERY_TENANT) return prefix;
  return prefix === '' ? tenant : `${prefix}/${tenant}`;
}

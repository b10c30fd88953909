/** What `ALLOWED_HOSTS`, `TRUST_PROXY` and `PUBLIC_URL` say. */
import { isIP, isIPv6 } from 'node:net';
import { configErrors } from './errors.ts';

/** Ranges that have a name: this machine, addresses of one link, private networks. */
const NAMED_RANGES = new Set(['loopback', 'linklocal', 'uniquelocal']);
/** A request that passed more proxies than this is a mistake in the setting. */
const MAX_HOPS = 16;

const HOST_ENTRY =
  /^(?:\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*)$/;

/**
 * `ALLOWED_HOSTS` as lower-case entries: exact names and addresses, `*.suffix`, `*`. Undefined when unset. Errors:
 * `settings-invalid` naming the entry that is none of these.
 */
export function parseAllowedHosts(text: string | undefined): readonly string[] | undefined {
  return parseList(text)?.map((entry) => {
    const name = entry.toLowerCase().replace(/^\[(.*)\]$/, '$1');
    if (isIPv6(name) || HOST_ENTRY.test(name)) return name;
    throw configErrors.invalid(
      `ALLOWED_HOSTS has "${entry}", which is no host name. Write names without scheme, port or path: api.example.org, *.example.org, or * for all.`,
    );
  });
}

/**
 * `TRUST_PROXY` as addresses, networks and names of ranges, or as a number of proxies. Undefined when unset. Errors:
 * `settings-invalid` naming the entry that is none of these.
 */
export function parseTrustProxy(text: string | undefined): readonly string[] | number | undefined {
  const entries = parseList(text);
  if (entries?.length === 1 && /^\d+$/.test(entries[0]!)) {
    const hops = Number(entries[0]);
    if (hops >= 1 && hops <= MAX_HOPS) return hops;
    throw configErrors.invalid(`TRUST_PROXY as a number is how many proxies there are: 1 to ${MAX_HOPS}.`);
  }
  for (const entry of entries ?? []) {
    if (NAMED_RANGES.has(entry) || isNetwork(entry)) continue;
    throw configErrors.invalid(
      `TRUST_PROXY has "${entry}", which is neither an address (10.0.0.1), a network (10.0.0.0/8), loopback, linklocal or uniquelocal, nor alone and a number of proxies.`,
    );
  }
  return entries;
}

/**
 * `PUBLIC_URL` without a slash at its end. Undefined when unset. Errors: `settings-invalid` for what is no http(s) address,
 * or has a login, a query or a fragment.
 */
export function parsePublicUrl(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  const plain = url && !url.username && !url.password && !url.search && !url.hash;
  if (plain && ['http:', 'https:'].includes(url.protocol)) return url.href.replace(/\/+$/, '');
  throw configErrors.invalid(
    'PUBLIC_URL is the http:// or https:// address of the service, without login, query and fragment.',
  );
}

/** An address, or an address and the bits of its network. */
function isNetwork(entry: string): boolean {
  const [, address, bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
  const family = isIP(address ?? '');
  if (family === 0) return false;
  return bits === undefined || (Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128));
}

function parseList(text: string | undefined): string[] | undefined {
  return text?.split(',').map((entry) => entry.trim());
}

/**
 * Which host names requests may be addressed to. A page can make its own name resolve to this machine (DNS rebinding), and
 * its requests then count as same-origin in a browser; only the name in the request gives them away.
 */
import { isIP } from 'node:net';
import { isLoopback } from '../base/loopback.ts';

/** Which host names are served, and how a refusal puts it. */
export type HostRule = {
  /**
   * Whether requests for this host are served: a name as {@link hostNameOf} gives it, or '' where a request names none.
   * `localAddress` is the address at which the connection arrived.
   */
  allows(name: string, localAddress?: string): boolean;
  /** What a refused client is told. */
  readonly refusal: string;
};

/**
 * The rule for a service that listens on `host`. `allowedHosts` are exact names, `*.suffix` for every name below one, and
 * `*` for all; loopback names and the address of the connection itself are served as well. Without it, a service that is `open` (it asks for no key) and listens on loopback serves loopback names
 * alone, and any other serves every name: there a key protects it, and probes address it by whatever address it has.
 */
export function hostRule(options: {
  host: string;
  allowedHosts?: readonly string[] | undefined;
  open: boolean;
}): HostRule {
  const { host, allowedHosts, open } = options;
  if (allowedHosts === undefined && !(open && isLoopback(host))) return EVERY_HOST;
  if (allowedHosts === undefined) return LOOPBACK_HOSTS;
  if (allowedHosts.includes('*')) return EVERY_HOST;
  const exact = new Set(allowedHosts.filter((entry) => !entry.startsWith('*.')));
  const suffixes = allowedHosts.filter((entry) => entry.startsWith('*.')).map((entry) => entry.slice(1));
  return {
    allows: (name, localAddress) =>
      exact.has(name) ||
      suffixes.some((suffix) => name.endsWith(suffix) && name.length > suffix.length) ||
      // How health checks address a container. Neither can be a page's own name: what they mean is not looked up.
      isLoopback(name) ||
      (name !== '' && name === plainAddress(localAddress)),
    refusal: 'The host that the request names is not in ALLOWED_HOSTS.',
  };
}

const EVERY_HOST: HostRule = { allows: () => true, refusal: '' };

/** Serves loopback names alone: what holds for an open service on loopback. */
export const LOOPBACK_HOSTS: HostRule = {
  allows: isLoopback,
  refusal:
    'The service is open to this machine alone and answers to loopback names such as localhost and 127.0.0.1. Use one of them, or set ALLOWED_HOSTS.',
};

/** `::ffff:10.0.0.1`, as sockets that take both families have it → `10.0.0.1`. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=[\d.]+$)/i, '');
}

const AUTHORITY = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]*))(?::\d{0,5})?$/;

/**
 * The host of `host[:port]`, as `Host` headers have it: in lower case, without brackets, port or a trailing dot. Undefined
 * where the text is malformed; '' where it names no host.
 */
export function hostNameOf(authority: string): string | undefined {
  const [, address, name] = AUTHORITY.exec(authority) ?? [];
  if (address !== undefined) return isIP(address) === 6 ? address.toLowerCase() : undefined;
  return name?.toLowerCase().replace(/\.$/, '');
}

/** What the service takes from the network before it looks at a request. */
import { type HostRule, LOOPBACK_HOSTS } from './hosts.ts';

/** How many connections may be open, and how long a client may take. */
export type ConnectionLimits = {
  /** Connections open at once. Beyond it the one that has been idle longest makes room for a new one. */
  readonly maxConnections: number;
  /** From the first byte of a request (or the connection, before any) to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to its last. */
  readonly requestTimeoutMs: number;
  /** Between two requests of a connection. */
  readonly keepAliveMs: number;
};

/** The limits where nobody sets any: the defaults of the settings (a test compares). */
export const DEFAULT_CONNECTION_LIMITS: ConnectionLimits = {
  maxConnections: 4096,
  headersTimeoutMs: 15_000,
  requestTimeoutMs: 120_000,
  keepAliveMs: 75_000,
};

/** Proxies whose `X-Forwarded-*` headers are believed: addresses and networks, or how many proxies every request passes. */
export type TrustedProxies = readonly string[] | number;

/** Everything about the front door. */
export type FrontDoor = {
  readonly hosts: HostRule;
  readonly trustedProxies?: TrustedProxies | undefined;
  readonly connections: ConnectionLimits;
};

/** A front door for this machine alone. */
export const LOOPBACK_DOOR: FrontDoor = { hosts: LOOPBACK_HOSTS, connections: DEFAULT_CONNECTION_LIMITS };

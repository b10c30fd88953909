import type { ClusterNode, RedisOptions } from 'ioredis';
import { queueErrors } from './errors.ts';

/** Where a Redis is: one server or a set that Sentinel watches (`options`), or the nodes of a cluster to begin with. */
export type RedisAddress = {
  readonly options: Pick<
    RedisOptions,
    | 'host'
    | 'port'
    | 'db'
    | 'username'
    | 'password'
    | 'tls'
    | 'sentinels'
    | 'name'
    | 'enableTLSForSentinelMode'
    | 'sentinelTLS'
  >;
  readonly clusterNodes?: readonly ClusterNode[];
};

/** What an address may look like, for messages. */
export const REDIS_FORMS =
  'redis://host:6379/0, redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379 (each also as rediss…)';

const FORM = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?$/;
const DEFAULT_PORT = { server: 6379, sentinel: 26_379 };

// Only the scheme may be shown: the rest can hold a password.
const refuse = (why: string) => queueErrors.badAddress(`${why} Accepted: ${REDIS_FORMS}.`);

/** `host:port,host:port`; WHATWG URLs allow one host alone, so each is read by itself. */
function readHosts(list: string, defaultPort: number): { host: string; port: number }[] {
  return list.split(',').map((host) => {
    const url = URL.canParse(`redis://${host}`) ? new URL(`redis://${host}`) : undefined;
    if (!url?.hostname) throw refuse('A host in the Redis address cannot be read.');
    return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port ? Number(url.port) : defaultPort };
  });
}

function readDatabase(text: string | undefined): number {
  if (!text) return 0;
  if (!/^[0-9]{1,5}$/.test(text)) throw refuse('The database in the Redis address is not a number.');
  return Number(text);
}

/** Reads a Redis address of any of {@link REDIS_FORMS}. Errors: `queue-address-invalid`. */
export function parseRedisAddress(url: string): RedisAddress {
  const parts = FORM.exec(url);
  if (!parts) throw refuse('The Redis address cannot be read.');
  const [, scheme, kind, login, hosts = '', path] = parts;
  const [user, ...password] = (login ?? '').split(':');
  let credentials: { username?: string; password?: string };
  try {
    credentials = {
      ...(user && { username: decodeURIComponent(user) }),
      ...(password.length > 0 && { password: decodeURIComponent(password.join(':')) }),
    };
  } catch (cause) {
    throw queueErrors.badAddress('The login in the Redis address is not percent-encoded as it should be.', {
      cause,
    });
  }
  const options: RedisAddress['options'] = { ...credentials, ...(scheme === 'rediss' && { tls: {} }) };

  if (kind === 'cluster') {
    if (path) throw refuse('A Redis Cluster has one database only.');
    return { options, clusterNodes: readHosts(hosts, DEFAULT_PORT.server) };
  }
  if (kind === 'sentinel') {
    const [master, database, ...rest] = (path ?? '').split('/');
    if (!master || rest.length > 0) throw refuse('The Sentinel address names no master.');
    const sentinels = readHosts(hosts, DEFAULT_PORT.sentinel);
    const encrypted = scheme === 'rediss' && { enableTLSForSentinelMode: true, sentinelTLS: {} };
    return { options: { ...options, sentinels, name: master, db: readDatabase(database), ...encrypted } };
  }
  const [server, ...others] = readHosts(hosts, DEFAULT_PORT.server);
  if (!server || others.length > 0) throw refuse('Several hosts need a Sentinel or Cluster address.');
  return { options: { ...options, ...server, db: readDatabase(path) } };
}

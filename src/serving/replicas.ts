/** The replicas of a target as they are now. */
import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import type { Replica } from './call.ts';
import { servingErrors } from './errors.ts';
import type { Target } from './targets.ts';

/** Resolves a host name to all its addresses. */
export type ResolveAll = (host: string) => Promise<readonly Pick<LookupAddress, 'address'>[]>;

/** Most addresses that are taken of a name, as many as a file may list. */
const MAX_ADDRESSES = 64;

const resolveAll: ResolveAll = (host) => lookup(host, { all: true });

/** The replicas, with the key that they ask for. Errors: `replica-unavailable` when the name or the key file does not answer. */
export async function listReplicas(target: Target, resolve: ResolveAll = resolveAll): Promise<Replica[]> {
  const key = target.keyFile === undefined ? undefined : await readKey(target);
  const secret = key === undefined ? {} : { key };
  if (target.replicas) return target.replicas.map((url) => ({ name: new URL(url).host, url, ...secret }));
  const url = new URL(target.dns!);
  const found = await resolve(url.hostname).catch((cause) => {
    throw servingErrors.unavailable(`The host name of ${target.name} has no address.`, { cause });
  });
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return [...new Set(found.map(({ address }) => address))]
    .sort()
    .slice(0, MAX_ADDRESSES)
    .map((address) => ({
      name: `${isIPv6(address) ? `[${address}]` : address}:${port}`,
      url: url.href,
      address,
      ...secret,
    }));
}

async function readKey({ name, keyFile }: Target): Promise<string> {
  try {
    return (await readFile(keyFile!, 'utf8')).trim();
  } catch (cause) {
    throw servingErrors.unavailable(`The key file of ${name} cannot be read.`, { cause });
  }
}

/** Host names → addresses, for receivers of webhooks. */
import { lookup, Resolver } from 'node:dns/promises';

/** All addresses of a name. Rejects when it has none. */
export type ResolveName = (name: string) => Promise<readonly string[]>;

/** One try of two seconds and one more: a request waits for this before it is accepted. */
const DNS_TIMEOUT_MS = 2000;
const DNS_TRIES = 2;

/**
 * Asks the name servers directly. The system's own look-up would occupy one of four threads that files need too, so
 * names whose servers do not answer could stop the whole process.
 */
export const resolvePublicName: ResolveName = async (name) => {
  const resolver = new Resolver({ timeout: DNS_TIMEOUT_MS, tries: DNS_TRIES });
  const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  const failed = answers.find((answer) => answer.status === 'rejected');
  if (addresses.length === 0) throw failed?.reason ?? new Error('The name has no address.');
  return addresses;
};

/** Asks as the system does, with its hosts file and search domains: for names that the operator has allowed. */
export const resolveAllowedName: ResolveName = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address);

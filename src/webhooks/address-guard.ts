/**
 * Keeps webhooks from reaching what only this machine's network can: an address is judged when a request names it, so
 * that its sender hears of it, and again inside the look-up of every connection, where it counts.
 */
import { isIP, type LookupFunction } from 'node:net';
import type { LoradropError } from '../base/errors.ts';
import { webhookErrors } from './errors.ts';
import { type AllowList, isPublicAddress } from './networks.ts';
import { type ResolveName, resolveAllowedName, resolvePublicName } from './resolve.ts';

/** Longest address: longer ones carry data, for which there is the body. */
export const MAX_URL_CHARS = 2048;

/** Options of {@link createAddressGuard}. */
export type AddressGuardOptions = {
  readonly allow: AllowList;
  /** Ports of receivers outside the allow list. */
  readonly ports: readonly number[];
  readonly resolvePublic?: ResolveName;
  readonly resolveAllowed?: ResolveName;
};

/** Judges the addresses of receivers. */
export type AddressGuard = {
  /** The address as a URL, looked at without asking anybody. Errors: `webhook-url-invalid`, `webhook-address-refused`. */
  parse(text: string): URL;
  /** Looks the host's name up besides. Errors: those of `parse`, `webhook-unresolvable`. */
  check(text: string): Promise<void>;
  /** The addresses of a URL's host that may be connected to. Errors: as `check`. */
  addresses(url: URL): Promise<readonly string[]>;
  /** The look-up of a connection to the URL's host. */
  lookup(url: URL): LookupFunction;
};

const bareHost = ({ hostname }: URL) => hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
const portOf = ({ port, protocol }: URL) => Number(port || (protocol === 'https:' ? 443 : 80));

/** The host as it was written, before the URL's parser turned it into its plain spelling. */
function writtenHost(text: string): string {
  return /^[a-z]+:\/\/(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)/i.exec(text)?.[1] ?? '';
}

/** Makes an {@link AddressGuard}. */
export function createAddressGuard(options: AddressGuardOptions): AddressGuard {
  const { allow, ports, resolvePublic = resolvePublicName, resolveAllowed = resolveAllowedName } = options;

  function parse(text: string): URL {
    if (text.length > MAX_URL_CHARS) {
      throw webhookErrors.urlInvalid(`It has more than ${MAX_URL_CHARS} characters.`);
    }
    // The parser would drop or turn some of these, and others read them differently.
    if (/[\s\\\p{Cc}]/u.test(text)) {
      throw webhookErrors.urlInvalid('It has a space, a control character or a backslash.');
    }
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || !/^https?:\/\//i.test(text)) throw webhookErrors.urlInvalid('Give an https:// address.');
    const host = bareHost(url);
    const version = isIP(host);
    if (version !== 0 && writtenHost(text).toLowerCase() !== url.hostname) {
      throw webhookErrors.addressRefused('Write the IP address in its usual form.');
    }
    if (version === 0 && !allow.hosts.has(host)) {
      // One label is a name of the local network.
      if (!host.includes('.')) throw refused();
      if (!/[a-z]/i.test(host.slice(host.lastIndexOf('.')))) throw refused();
    }
    if (version !== 0) judge(url, [host]);
    return url;
  }

  /** True when the operator vouches for the receiver: then its scheme and port are free. */
  function vouched(url: URL, addresses: readonly string[]): boolean {
    return allow.hosts.has(bareHost(url)) || addresses.every((address) => allow.allows(address));
  }

  function judge(url: URL, addresses: readonly string[]): void {
    if (vouched(url, addresses)) return;
    // One address that is refused is enough: which of them a connection takes is chance.
    if (!addresses.every((address) => allow.allows(address) || isPublicAddress(address))) throw refused();
    if (url.protocol !== 'https:') throw webhookErrors.addressRefused('Give an https:// address.');
    if (!ports.includes(portOf(url))) {
      throw webhookErrors.addressRefused(`Its port has to be ${ports.join(' or ')}.`);
    }
  }

  async function addresses(url: URL): Promise<readonly string[]> {
    const host = bareHost(url);
    if (isIP(host) !== 0) {
      judge(url, [host]);
      return [host];
    }
    const resolve = allow.hosts.has(host) ? resolveAllowed : resolvePublic;
    const found = await resolve(host).catch((cause) => {
      throw webhookErrors.unresolvable('Its name could not be looked up.', { cause });
    });
    if (found.length === 0) throw webhookErrors.unresolvable('Its name could not be looked up.');
    judge(url, found);
    return found;
  }

  return {
    parse,
    async check(text) {
      await addresses(parse(text));
    },
    addresses,
    lookup: (url) => (_host, lookupOptions, answer) => {
      addresses(url).then(
        (found) => {
          const all = found.map((address) => ({ address, family: isIP(address) }));
          if (lookupOptions.all) answer(null, all);
          else answer(null, all[0]!.address, all[0]!.family);
        },
        (error: Error) => answer(error, '', 0),
      );
    },
  };
}

/** The same sentence whatever the reason, so that nobody maps a network by asking. */
function refused(): LoradropError {
  return webhookErrors.addressRefused(
    'It leads to a private, local or reserved network, which the operator has not allowed.',
  );
}

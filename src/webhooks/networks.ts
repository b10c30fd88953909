/** Which addresses are on the public internet, and which an operator allows besides. */
import { BlockList, isIP, isIPv4 } from 'node:net';
import { webhookErrors } from './errors.ts';

/**
 * IPv4 networks that are not public receivers (IANA's special-purpose registry), and an address in public space that is
 * a cloud's own: 168.63.129.16 answers every virtual machine of Azure. Metadata services lie in link-local (most),
 * 100.64/10 (Alibaba) and 192.0.0/24 (Oracle).
 */
export const NOT_PUBLIC_V4: readonly string[] = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // shared by carriers
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // Azure's host
  '169.254.0.0/16', // link-local, metadata
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // relays of 6to4
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
];
/**
 * All global unicast IPv6 lies here. Everything outside is refused without being named: loopback, mapped and compatible
 * IPv4, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), unique local (with fd00:ec2::254), link-local, site-local, multicast.
 */
export const PUBLIC_V6 = '2000::/3';
/** Parts of it that are no receivers, or that carry an IPv4 address inside. */
export const NOT_PUBLIC_V6: readonly string[] = [
  '2001::/23', // protocol assignments, with Teredo (2001::/32)
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20', // documentation
];

function toList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix = ''] = network.split('/');
    list.addSubnet(address, Number(prefix), isIPv4(address) ? 'ipv4' : 'ipv6');
  }
  return list;
}

const notPublicV4 = toList(NOT_PUBLIC_V4);
const publicV6 = toList([PUBLIC_V6]);
const notPublicV6 = toList(NOT_PUBLIC_V6);

/** True for an address of the public internet, in its plain spelling. */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !notPublicV4.check(address, 'ipv4');
  if (version !== 6 || address.includes('%')) return false;
  return publicV6.check(address, 'ipv6') && !notPublicV6.check(address, 'ipv6');
}

/** What an operator allows besides public addresses. */
export type AllowList = {
  /** Host names, in lower case and without a dot at the end: all their addresses are allowed. */
  readonly hosts: ReadonlySet<string>;
  /** True for an address of an allowed network. */
  allows(address: string): boolean;
};

/**
 * Reads host names, addresses and networks (`10.0.0.0/8`) separated by commas or spaces, or `none`. Errors:
 * `webhook-settings-invalid`.
 */
export function parseAllowList(text: string): AllowList {
  const hosts = new Set<string>();
  const networks: string[] = [];
  for (const entry of text === 'none' ? [] : text.split(/[\s,]+/).filter(Boolean)) {
    const [, address = '', prefix] = /^\[?([^/\]]+)\]?(?:\/([0-9]{1,3}))?$/.exec(entry) ?? [];
    const version = isIP(address);
    const bits = version === 4 ? 32 : 128;
    if (version !== 0 && Number(prefix ?? bits) <= bits) networks.push(`${address}/${prefix ?? bits}`);
    else if (version === 0 && /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?$/i.test(entry))
      hosts.add(entry.toLowerCase().replace(/\.$/, ''));
    else
      throw webhookErrors.settings(`WEBHOOK_ALLOW takes host names, addresses and networks: not ${entry}.`);
  }
  const list = toList(networks);
  // A mapped spelling is matched by IPv4 rules too, and is refused before it comes to that.
  return {
    hosts,
    allows(address) {
      const version = isIP(address);
      if (version === 0 || address.includes('%') || /^::ffff:/i.test(address)) return false;
      return list.check(address, version === 4 ? 'ipv4' : 'ipv6');
    },
  };
}

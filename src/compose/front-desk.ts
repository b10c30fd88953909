/** Who is let in, and how much they may do, for the settings. */
import { join, resolve } from 'node:path';
import type { Limits } from '../access/caller.ts';
import { openLinkSecret } from '../access/link-secret.ts';
import { type Access, openAccess } from '../access/open-access.ts';
import { isLoopback } from '../base/loopback.ts';
import { configErrors } from '../config/errors.ts';
import { parseAllowedHosts, parsePublicUrl, parseTrustProxy } from '../config/front-door.ts';
import type { Config } from '../config/schema.ts';
import { type AdapterLinks, createAdapterLinks } from '../http/adapter-links.ts';
import type { FrontDoor } from '../http/front-door.ts';
import { hostRule } from '../http/hosts.ts';
import type { HttpLimits } from '../http/services.ts';
import type { Logger } from '../observability/logger.ts';
import type { AdapterStore } from '../store/store.ts';
import type { Role } from './role.ts';

/** Opens the door as the settings say. A worker serves probes alone, so it needs no key to be reached. */
export function openServiceAccess(config: Config, role: Role, logger: Logger): Promise<Access> {
  const { auth, apiKeysFile, dataDir, host } = config;
  if (auth === 'off') logger.warn('AUTH=off: everybody who can reach the service may do everything');
  return openAccess({
    mode: auth,
    keysFile: resolve(apiKeysFile ?? join(dataDir, 'keys.json')),
    fileNamed: apiKeysFile !== undefined,
    loopback: role === 'worker' || isLoopback(host),
    limits: accessLimits(config),
    onChange: ({ size, damage }) =>
      damage
        ? logger.error({ err: damage }, 'the keys file cannot be used; the last good keys hold')
        : logger.info({ keys: size }, 'keys read anew'),
  });
}

/** Links to files. A secret of this machine's own would not open what another process has signed. */
export async function openLinks(config: Config, store: AdapterStore): Promise<AdapterLinks> {
  const { storeUrl, queueUrl, dataDir, linkSeconds, presign } = config;
  const storeLinks = storeUrl?.startsWith('s3:') ?? false;
  const alone = queueUrl === undefined && !storeLinks;
  const secret =
    config.linkSecret ?? (alone ? await openLinkSecret(resolve(dataDir, 'link-secret')) : undefined);
  const links = createAdapterLinks({
    store,
    storeLinks,
    secret,
    publicUrl: parsePublicUrl(config.publicUrl),
    seconds: linkSeconds,
    byDefault: presign,
    limits: accessLimits(config),
  });
  if (presign && !links.available) {
    throw configErrors.invalid(
      'PRESIGN=true needs LINK_SECRET where QUEUE_URL is set and the store is local.',
    );
  }
  return links;
}

/** The bounds that hold for keys without their own. */
function accessLimits(config: Config): Limits {
  const bounds = {
    requestsPerSecond: config.keyRequestsPerSecond,
    requestBurst: config.keyRequestBurst,
    waitingJobs: config.tenantWaitingJobs,
    runningJobs: config.tenantRunningJobs,
    adapters: config.tenantAdapters,
    storedBytes: config.tenantStoredBytes,
  };
  return Object.fromEntries(Object.entries(bounds).filter(([, bound]) => bound > 0));
}

/** Who is let in, for the settings. */
export function frontDoor(config: Config, { keys }: Access): FrontDoor {
  const { host, maxConnections, headersTimeoutMs, requestTimeoutMs, keepAliveMs } = config;
  return {
    // A page that rebinds a name to this machine has no key, so where one is needed the name does not matter.
    hosts: hostRule({
      host,
      allowedHosts: parseAllowedHosts(config.allowedHosts),
      open: !keys?.guarded,
    }),
    trustedProxies: parseTrustProxy(config.trustProxy),
    connections: { maxConnections, headersTimeoutMs, requestTimeoutMs, keepAliveMs },
  };
}

/** The bounds on requests that hold for the settings. */
export function httpLimits(config: Config): HttpLimits {
  const { maxBodyBytes, maxPrompts, maxPromptChars, maxCount, maxWaitSeconds, maxDeadlineSeconds } = config;
  const { retentionSeconds: defaultRetentionSeconds, maxRetentionSeconds } = config;
  return {
    maxBodyBytes,
    maxPrompts,
    maxPromptChars,
    maxCount,
    maxWaitSeconds,
    maxDeadlineSeconds,
    defaultRetentionSeconds,
    maxRetentionSeconds,
  };
}

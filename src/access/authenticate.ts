import { isApiKey } from './api-key.ts';
import { anyone, type Caller, type Limits } from './caller.ts';
import { accessErrors } from './errors.ts';
import type { KeyRing } from './key-ring.ts';

/** Tells who sends a request, from its `Authorization` header. Errors: `key-missing`, `key-invalid`, `key-expired`. */
export type Authenticate = (authorization: string | undefined) => Caller;

/** Options of {@link createAuthenticate}. */
export type AuthenticateOptions = {
  /** Absent where keys are off on purpose. */
  readonly keys?: Pick<KeyRing, 'guarded' | 'find'>;
  /** Limits that hold where a key has none of its own. */
  readonly limits: Limits;
  readonly now?: () => number;
};

/**
 * The key in a header: a Bearer token, or the password of Basic, whatever the user's name is (some clients of hubs and
 * package registries can only do that). `hf_` in front of a key is left out: a client of hubs takes no other tokens.
 */
function keyOf(authorization: string): string | undefined {
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([\x21-\x7e]+) *$/.exec(authorization) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value.replace(/^hf_/, '');
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon === -1 ? undefined : pair.slice(colon + 1);
}

/** Makes {@link Authenticate}. While there has never been a key, everybody is the default tenant. */
export function createAuthenticate({ keys, limits, now = Date.now }: AuthenticateOptions): Authenticate {
  const open = anyone(limits);
  return (authorization) => {
    if (!keys?.guarded) return open;
    if (authorization === undefined) {
      throw accessErrors.keyMissing('Send it as `Authorization: Bearer ld_…`.');
    }
    const key = keyOf(authorization);
    if (key === undefined)
      throw accessErrors.keyInvalid('Authorization is `Bearer KEY`, or Basic with the key as password.');
    const entry = isApiKey(key) ? keys.find(key) : undefined;
    if (!entry) throw accessErrors.keyInvalid('It was never made here, or it was revoked.');
    const expiresAt = entry.expiresAt === undefined ? undefined : new Date(entry.expiresAt);
    if (expiresAt && expiresAt.getTime() <= now()) {
      throw accessErrors.keyExpired(`It expired at ${expiresAt.toISOString()}.`);
    }
    return {
      tenant: entry.tenant,
      keyName: entry.name,
      scopes: entry.scopes,
      limits: { ...limits, ...entry.limits },
      ...(expiresAt && { expiresAt }),
    };
  };
}

/** Links that open one file of one adapter without a key: what they say, and the signature that shows it was said here. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TenantId } from '../base/ids.ts';
import { accessErrors } from './errors.ts';

/** What a link opens, and until when. */
export type LinkTarget = TenantId & {
  readonly file: string;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
};

/** Shortest secret that is taken: 32 characters at random are more than can be guessed, in any alphabet. */
export const MIN_LINK_SECRET_CHARS = 32;

/** The signature of a link: HMAC-SHA256 as base64url, 43 characters. */
export function signLink({ tenant, id, file, expiresAt }: LinkTarget, secret: string): string {
  // None of the parts that are signed holds a line break, so one text stands for one target.
  const text = ['loradrop-link-1', tenant, id, file, expiresAt].join('\n');
  return createHmac('sha256', secret).update(text).digest('base64url');
}

/**
 * Lets a link pass whose signature is that of its target and whose time has not come. Errors: `link-invalid`,
 * `link-expired`.
 */
export function checkLink(
  target: LinkTarget,
  signature: string,
  { secret, now }: { secret: string; now: number },
): void {
  const expected = Buffer.from(signLink(target, secret));
  const given = Buffer.from(signature);
  // The length is no secret; the bytes are compared in constant time.
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw accessErrors.linkInvalid('The link was changed, or its secret has been replaced.');
  }
  if (target.expiresAt * 1000 <= now) {
    throw accessErrors.linkExpired(`The link ended at ${new Date(target.expiresAt * 1000).toISOString()}.`);
  }
}

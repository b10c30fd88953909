/** Secrets and signatures of Standard Webhooks 1.0 (symmetric, `v1`). */
import { createHmac, randomBytes } from 'node:crypto';

const SECRET_PREFIX = 'whsec_';
/** As long as the digest, so that the key is not the weaker part. */
const SECRET_BYTES = 32;
/** What the specification allows. */
const SECRET_RANGE = { minimum: 24, maximum: 64 } as const;

/** A new secret: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(random: (bytes: number) => Uint8Array = randomBytes): string {
  return SECRET_PREFIX + Buffer.from(random(SECRET_BYTES)).toString('base64');
}

/** True for `whsec_` and standard base64 of 24 to 64 bytes. */
export function isWebhookSecret(text: string): boolean {
  if (!text.startsWith(SECRET_PREFIX)) return false;
  const bytes = keyOf(text);
  const { minimum, maximum } = SECRET_RANGE;
  return (
    bytes.length >= minimum &&
    bytes.length <= maximum &&
    // Buffer skips what is not base64, so only text that comes out again as it went in is exact.
    bytes.toString('base64') === text.slice(SECRET_PREFIX.length)
  );
}

const keyOf = (secret: string) => Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');

/** What is signed. */
export type SignedMessage = {
  /** The message's id, the same in every attempt. */
  readonly id: string;
  /** When this attempt is made, in milliseconds since the epoch. */
  readonly sentAt: number;
  readonly body: string;
};

/** The three headers of a message, with a signature by each secret. */
export function signatureHeaders(
  { id, sentAt, body }: SignedMessage,
  secrets: readonly string[],
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const seconds = String(Math.floor(sentAt / 1000));
  const signatures = secrets.map((secret) => {
    const digest = createHmac('sha256', keyOf(secret)).update(`${id}.${seconds}.${body}`).digest('base64');
    return `v1,${digest}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signatures.join(' ') };
}

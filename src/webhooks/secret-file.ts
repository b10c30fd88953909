/** The file of webhook secrets: JSON with the secrets of each tenant, and of the operator's own endpoints. */

import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { isTenant } from '../base/ids.ts';
import { parseJson } from '../base/parse-json.ts';
import { readPrivateFile, replacePrivateFile } from '../base/private-file.ts';
import { webhookErrors } from './errors.ts';
import { isWebhookSecret } from './sign.ts';

/** Stands for the operator in place of a tenant; no tenant can be called so. */
export const OPERATOR = '*';
/** Largest file: ten thousand tenants, and read in milliseconds. */
const MAX_FILE_BYTES = 4 << 20;

const closed = { additionalProperties: false } as const;
const SecretEntrySchema = Type.Object(
  {
    /** A tenant, or {@link OPERATOR}. */
    owner: Type.String(),
    secret: Type.String(),
    createdAt: Type.String(),
    /** Signs until then, beside its successor. */
    expiresAt: Type.Optional(Type.String()),
  },
  closed,
);
/** A secret as the file has it; times are ISO 8601. */
export type SecretEntry = Static<typeof SecretEntrySchema>;

const checkFile = Compile(
  Type.Object({ version: Type.Literal(1), secrets: Type.Array(SecretEntrySchema) }, closed),
);

/** The secrets in the file's text. Errors: `webhook-secrets-file-invalid`, with where and why and never a secret. */
export function parseSecretFile(text: string): SecretEntry[] {
  // Without the parser's own message, which quotes the text.
  const value = parseJson(text, checkFile, (detail) => webhookErrors.secretsFile(detail));
  for (const [index, { owner, secret, createdAt, expiresAt }] of value.secrets.entries()) {
    const wrong = (what: string) => webhookErrors.secretsFile(`At "/secrets/${index}" ${what}.`);
    if (owner !== OPERATOR && !isTenant(owner)) throw wrong('the owner is no tenant');
    if (!isWebhookSecret(secret))
      throw wrong('the secret is not whsec_ and base64 of 24 to 64 bytes; make it anew');
    if ([createdAt, expiresAt].some((time) => time !== undefined && Number.isNaN(Date.parse(time)))) {
      throw wrong('a time is not ISO 8601');
    }
  }
  return value.secrets;
}

/** The file's text and stamp, or undefined when there is no file. Errors: `webhook-secrets-file-invalid`. */
export async function readSecretFile(path: string): Promise<{ text: string; stamp: string } | undefined> {
  try {
    return await readPrivateFile(path, MAX_FILE_BYTES);
  } catch (cause) {
    throw webhookErrors.secretsFile(
      cause instanceof RangeError ? cause.message : 'It cannot be read; its owner and mode may be wrong.',
      { cause },
    );
  }
}

/** Changes the file in one step. Two calls at once can undo each other, so one person keeps it. Errors: `webhook-secrets-file-invalid`. */
export async function changeSecretFile(
  path: string,
  change: (secrets: readonly SecretEntry[]) => readonly SecretEntry[],
): Promise<void> {
  const file = await readSecretFile(path);
  const secrets = change(file ? parseSecretFile(file.text) : []);
  await replacePrivateFile(path, `${JSON.stringify({ version: 1, secrets }, null, 2)}\n`);
}

/** Adds a first secret for an owner. Errors: `webhook-secret-exists`. */
export function withFirstSecret(
  secrets: readonly SecretEntry[],
  { owner, secret, now }: { owner: string; secret: string; now: number },
): SecretEntry[] {
  if (secrets.some((each) => each.owner === owner)) {
    throw webhookErrors.secretExists('Use `loradrop webhooks secret rotate` to replace it.');
  }
  return [...secrets, { owner, secret, createdAt: new Date(now).toISOString() }];
}

/**
 * Adds a successor to an owner's secret; the one before signs beside it for `overlapMs`, and older ones go. Errors:
 * `webhook-secret-missing` where there is none to replace.
 */
export function withRotatedSecret(
  secrets: readonly SecretEntry[],
  options: { owner: string; secret: string; overlapMs: number; now: number },
): SecretEntry[] {
  const { owner, secret, overlapMs, now } = options;
  const current = secrets.findLast((each) => each.owner === owner && each.expiresAt === undefined);
  if (!current) {
    throw webhookErrors.secretMissing('Make the first one with `loradrop webhooks secret create`.');
  }
  const expiresAt = new Date(now + overlapMs).toISOString();
  return [
    ...secrets.filter((each) => each.owner !== owner),
    ...(overlapMs > 0 ? [{ ...current, expiresAt }] : []),
    { owner, secret, createdAt: new Date(now).toISOString() },
  ];
}

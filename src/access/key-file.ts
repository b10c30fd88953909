/** The file of API keys: JSON with the digest of each key, its tenant, scopes, expiry and limits. */

import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { SHA256_PATTERN } from '../base/digest.ts';
import { TENANT_PATTERN } from '../base/ids.ts';
import { parseJson } from '../base/parse-json.ts';
import { readPrivateFile, replacePrivateFile } from '../base/private-file.ts';
import { SCOPES } from './caller.ts';
import { accessErrors } from './errors.ts';

/** Form of a key's name: people read it in logs and lists. */
export const KEY_NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';
/** Largest file: thirty thousand keys, and read in milliseconds. */
const MAX_FILE_BYTES = 16 << 20;

const closed = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0 });

const LimitsSchema = Type.Object(
  {
    requestsPerSecond: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    requestBurst: Type.Optional(Type.Integer({ minimum: 1 })),
    waitingJobs: Type.Optional(Count),
    runningJobs: Type.Optional(Type.Integer({ minimum: 1 })),
    adapters: Type.Optional(Count),
    storedBytes: Type.Optional(Count),
  },
  closed,
);

const KeyEntrySchema = Type.Object(
  {
    name: Type.String({ pattern: KEY_NAME_PATTERN }),
    tenant: Type.String({ pattern: TENANT_PATTERN }),
    scopes: Type.Array(Type.Enum([...SCOPES]), { minItems: 1, uniqueItems: true }),
    /** SHA-256 of the key. */
    sha256: Type.String({ pattern: SHA256_PATTERN }),
    createdAt: Type.String(),
    expiresAt: Type.Optional(Type.String()),
    limits: Type.Optional(LimitsSchema),
  },
  closed,
);
/** A key as the file has it; times are ISO 8601. */
export type KeyEntry = Static<typeof KeyEntrySchema>;

const checkFile = Compile(
  Type.Object({ version: Type.Literal(1), keys: Type.Array(KeyEntrySchema) }, closed),
);

/**
 * The keys in the file's text. Errors: `keys-file-invalid`, with where and why and never a digest.
 */
export function parseKeyFile(text: string): KeyEntry[] {
  const value = parseJson(text, checkFile, (detail, cause) => accessErrors.keysFile(detail, { cause }));
  const { keys } = value;
  for (const [field, of] of [
    ['name', (key: KeyEntry) => key.name],
    ['sha256', (key: KeyEntry) => key.sha256],
  ] as const) {
    if (new Set(keys.map(of)).size < keys.length)
      throw accessErrors.keysFile(`Two keys have the same ${field}.`);
  }
  for (const { name, createdAt, expiresAt } of keys) {
    if ([createdAt, expiresAt].some((time) => time !== undefined && Number.isNaN(Date.parse(time)))) {
      throw accessErrors.keysFile(`A time of the key ${name} is not ISO 8601.`);
    }
  }
  return keys;
}

/** The file's text and what tells one state of it from another, or undefined when there is no file. */
export async function readKeyFile(path: string): Promise<{ text: string; stamp: string } | undefined> {
  try {
    return await readPrivateFile(path, MAX_FILE_BYTES);
  } catch (error) {
    if (error instanceof RangeError) throw accessErrors.keysFile(error.message);
    throw error;
  }
}

/**
 * Adds keys to the file or takes some away, in one step: readers see the state before or the one after. Two calls at
 * once can undo each other, so one person keeps the file. Errors: `keys-file-invalid`, and the system's own.
 */
export async function changeKeyFile(
  path: string,
  change: (keys: readonly KeyEntry[]) => readonly KeyEntry[],
): Promise<void> {
  const file = await readKeyFile(path);
  const keys = change(file ? parseKeyFile(file.text) : []);
  await replacePrivateFile(path, `${JSON.stringify({ version: 1, keys }, null, 2)}\n`);
}

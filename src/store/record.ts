/** The record of a stored adapter as JSON, for every medium. */

import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { SHA256_PATTERN } from '../base/digest.ts';
import { DEFAULT_TENANT, ID_PATTERN, isId, TENANT_PATTERN } from '../base/ids.ts';
import type { StoredAdapter } from './store.ts';

/** Name of the record beside an adapter's files; no file of an adapter may have it. */
export const RECORD_FILE = 'adapter.json';
/** Largest record: real ones have a few kilobytes, and a request's own metadata is bounded far below this. */
export const MAX_RECORD_BYTES = 4 << 20;

const FILE_NAME = '^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$';
const Sha256 = Type.String({ pattern: SHA256_PATTERN });
const closed = { additionalProperties: false } as const;
const StoredAdapterSchema = Compile(
  Type.Object(
    {
      /** Absent in records from before there were tenants. */
      tenant: Type.Optional(Type.String({ pattern: TENANT_PATTERN })),
      id: Type.String({ pattern: ID_PATTERN }),
      files: Type.Array(
        Type.Object(
          {
            name: Type.String({ pattern: FILE_NAME }),
            bytes: Type.Integer({ minimum: 0 }),
            sha256: Sha256,
          },
          closed,
        ),
      ),
      createdAt: Type.Number(),
      expiresAt: Type.Number(),
      contentKey: Sha256,
      info: Type.Record(Type.String(), Type.Unknown()),
    },
    closed,
  ),
);

const fileName = new RegExp(FILE_NAME);

/** True for a name a file of an adapter may have: one plain segment that is not the record's. */
export function isStoredFileName(name: string): boolean {
  return fileName.test(name) && name !== RECORD_FILE;
}

/** Holds a copy to its tenant, and its id to the form of one. Errors: a `TypeError`, since requests were checked long before. */
export function checkCopy(source: StoredAdapter, copy: StoredAdapter): void {
  if (source.tenant !== copy.tenant) throw new TypeError('An adapter is copied inside its tenant.');
  if (!isId(copy.id)) throw new TypeError('An adapter id has the form of an id.');
}

/** The record as indented JSON. Errors: a `TypeError` when the writer's fields do not make a record. */
export function encodeRecord(record: StoredAdapter): Uint8Array {
  const bytes = new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`);
  if (!decodeRecord(bytes)) throw new TypeError(`${record.id} has fields that do not make a record.`);
  return bytes;
}

/** The record in these bytes, or undefined when they hold none. */
export function decodeRecord(bytes: Uint8Array): StoredAdapter | undefined {
  if (bytes.length > MAX_RECORD_BYTES) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return StoredAdapterSchema.Check(value)
      ? { ...value, tenant: value.tenant ?? DEFAULT_TENANT }
      : undefined;
  } catch {
    return undefined;
  }
}

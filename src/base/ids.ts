/** Identifiers that clients see and may choose: safe as a file name, an URL segment and a queue key. */
import { randomBytes } from 'node:crypto';

/**
 * The form of every id: 1–64 of `A–Z a–z 0–9 _ -`, not starting with `-` or `.`, not all digits (the queue reserves those).
 * No dot, slash or colon, so an id can never leave a directory or a key space.
 */
export const ID_PATTERN = '^(?![0-9]+$)[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$';

const idRegExp = new RegExp(ID_PATTERN);

/** True for a string of the form of {@link ID_PATTERN}. */
export function isId(value: string): boolean {
  return idRegExp.test(value);
}

/** A new random id with a readable prefix, 80 bits of it random: `job_0f3a…`. */
export function newId(prefix: string, random: (bytes: number) => Uint8Array = randomBytes): string {
  return `${prefix}_${Buffer.from(random(10)).toString('hex')}`;
}

/**
 * The form of a tenant's name: 1–40 of `a–z 0–9 -`, beginning and ending with a letter or digit. It is a segment of
 * directories, object keys and repository names, so it is the same in any letter case.
 */
export const TENANT_PATTERN = '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$';

const tenantRegExp = new RegExp(TENANT_PATTERN);

/** Whose everything is while there are no keys, and whose everything from before there were tenants stays. */
export const DEFAULT_TENANT = 'default';

/** True for a string of the form of {@link TENANT_PATTERN}. */
export function isTenant(value: string): boolean {
  return tenantRegExp.test(value);
}

/**
 * The form of an adapter's name: an id without `--` that does not end in `-`, since Hub clients take no other name of a
 * repository.
 */
export const NAME_PATTERN = '^(?![0-9]+$)(?!.*--)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?$';

const nameRegExp = new RegExp(NAME_PATTERN);

/** True for a string of the form of {@link NAME_PATTERN}. */
export function isName(value: string): boolean {
  return nameRegExp.test(value);
}

/** What belongs to a tenant, by name: two tenants may use one id, so an id alone names nothing. */
export type TenantId = { readonly tenant: string; readonly id: string };

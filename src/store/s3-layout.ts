import type { Sha256 } from '../base/digest.ts';
import type { TenantId } from '../base/ids.ts';
import { storeErrors } from './errors.ts';
import { DAY_MS } from './local-layout.ts';
import { RECORD_FILE } from './record.ts';

/** Where in object storage adapters are kept. */
export type S3Place = {
  readonly bucket: string;
  /** Ends with a slash, or is empty. */
  readonly prefix: string;
};

/** What looks like an IPv4 address is none. */
const BUCKET = /^(?!(?:[0-9]+\.){3}[0-9]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Characters that need no escaping in any of the ways in which keys travel. */
const PREFIX_SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}$/;
/** Digits of a day and of a time in milliseconds in the expiry index, so that keys sort by time. */
const DAY_DIGITS = 8;
const TIME_DIGITS = 15;

/** True for a name that a bucket may have. */
export function isBucketName(name: string): boolean {
  return BUCKET.test(name) && !name.includes('..');
}

/** True for a part between two slashes that a prefix may have. */
export function isPrefixSegment(segment: string): boolean {
  return PREFIX_SEGMENT.test(segment);
}

/** Reads `s3://bucket/prefix`. Errors: `store-address-invalid`. */
export function parseS3Url(url: string): S3Place {
  const [bucket = '', ...segments] = url
    .replace(/^s3:\/\//, '')
    .replace(/\/$/, '')
    .split('/');
  if (!url.startsWith('s3://') || !isBucketName(bucket)) {
    throw storeErrors.badAddress(
      'The address names no bucket. It has the form s3://bucket/prefix, and a bucket’s name has 3 to 63 lower-case letters, digits, “.” and “-”.',
    );
  }
  if (!segments.every(isPrefixSegment)) {
    throw storeErrors.badAddress(
      'The prefix has an empty or dotted part, or characters other than letters, digits, “_”, “-” and “.”.',
    );
  }
  return { bucket, prefix: segments.map((segment) => `${segment}/`).join('') };
}

/**
 * Keys of an object store:
 *
 *     adapters/<tenant>/<id>/                       the adapter: its files and adapter.json, the record
 *     names/<tenant>/<name>/<number>                a state of a name; the highest number holds
 *     content/<tenant>/<content key>/<id>           empty: finds adapters of equal content
 *     expiry/<day>/<milliseconds>.<tenant>.<id>     empty: finds adapters to remove, in the order of their time
 *     probe/                                        what shows that the store can be written to
 *
 * The two indexes are hints, as in a local store.
 */
export type S3Layout = {
  readonly adapters: string;
  readonly expiry: string;
  readonly probe: string;
  tenant(tenant: string): string;
  /** Prefix of the states of all names; ends with a slash. */
  names(tenant: string): string;
  /** Ends with a slash. */
  adapter(name: TenantId): string;
  file(name: TenantId, file: string): string;
  record(name: TenantId): string;
  /** Prefix of the index entries of one content key; ends with a slash. */
  equals(tenant: string, contentKey: Sha256): string;
  expiryEntry(name: TenantId, expiresAt: number): string;
  /** What the key of an expiry entry says; `at` is not a number for a key that is none. */
  readExpiryEntry(key: string): { readonly at: number; readonly name: TenantId };
};

/** The layout below a prefix. */
export function s3Layout(prefix: string): S3Layout {
  const adapters = `${prefix}adapters/`;
  const expiry = `${prefix}expiry/`;
  const adapter = ({ tenant, id }: TenantId) => `${adapters}${tenant}/${id}/`;
  return {
    adapters,
    expiry,
    probe: `${prefix}probe/`,
    tenant: (tenant) => `${adapters}${tenant}/`,
    names: (tenant) => `${prefix}names/${tenant}/`,
    adapter,
    file: (name, file) => `${adapter(name)}${file}`,
    record: (name) => `${adapter(name)}${RECORD_FILE}`,
    equals: (tenant, contentKey) => `${prefix}content/${tenant}/${contentKey}/`,
    expiryEntry({ tenant, id }, expiresAt) {
      const day = String(Math.floor(expiresAt / DAY_MS)).padStart(DAY_DIGITS, '0');
      const time = String(Math.ceil(expiresAt)).padStart(TIME_DIGITS, '0');
      return `${expiry}${day}/${time}.${tenant}.${id}`;
    },
    readExpiryEntry(key) {
      const [time = '', tenant = '', id = ''] = key.slice(key.lastIndexOf('/') + 1).split('.');
      return { at: Number(time), name: { tenant, id } };
    },
  };
}

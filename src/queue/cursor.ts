import { queueErrors } from './errors.ts';
import type { IndexEntry } from './job-index.ts';

/** A place in a list of jobs, as clients carry it from one page to the next. */
export function encodeCursor({ acceptedAt, id }: IndexEntry): string {
  return Buffer.from(`${acceptedAt}.${id}`).toString('base64url');
}

/**
 * The place that a cursor stands for, in the list of whoever asks: another tenant's names no more than a time. Errors:
 * `cursor-invalid`.
 */
export function decodeCursor(tenant: string, cursor: string): IndexEntry {
  const parts = /^([0-9]{1,15})\.([A-Za-z0-9_-]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (!parts) throw queueErrors.badCursor('Take it as it came from the page before.');
  return { tenant, acceptedAt: Number(parts[1]), id: parts[2] ?? '' };
}

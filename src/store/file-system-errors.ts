/** The system's errors as those of a store. */
import { LoradropError } from '../base/errors.ts';
import { storeErrors } from './errors.ts';

/** No room on the device, and no room in the account's quota. */
const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** True for an error of the file system with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(error.code as string);
}

/**
 * Runs work on the file system and turns its failures into `store-full` or `store-unavailable`. The message names the
 * system's code and never a path; the cause has both.
 */
export async function onFileSystem<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toStoreError(error);
  }
}

function toStoreError(error: unknown): unknown {
  if (error instanceof LoradropError || !(error instanceof Error) || !('syscall' in error)) return error;
  const code = 'code' in error ? String(error.code) : 'an unknown code';
  return FULL.has(code)
    ? storeErrors.full(`The file system has no room left (${code}).`, { cause: error })
    : storeErrors.unavailable(`The file system answered ${code}.`, { cause: error });
}

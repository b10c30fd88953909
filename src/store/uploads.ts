/** Files that clients upload: a store of their own keeps them as another keeps adapters, whole or not at all, each with one file. */
import type { StoredAdapter } from './store.ts';

/** Name of the one file of an upload. */
export const UPLOADED_FILE = 'content';

/** What is kept of an upload beside its bytes. */
export type UploadInfo = {
  /** As the client called it. */
  readonly filename: string;
  readonly purpose: string;
};

/** What is kept of an upload. */
export function uploadInfo({ info }: Pick<StoredAdapter, 'info'>): UploadInfo {
  return info as UploadInfo;
}

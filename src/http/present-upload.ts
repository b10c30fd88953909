import { inSeconds } from '../finetuning/present-job.ts';
import type { StoredAdapter } from '../store/store.ts';
import { uploadInfo } from '../store/uploads.ts';
import { type FileObject, UPLOAD_PURPOSE } from './file-schemas.ts';

/** An upload as clients see it. */
export function presentUpload(file: StoredAdapter): FileObject {
  const { filename } = uploadInfo(file);
  return {
    id: file.id,
    object: 'file',
    bytes: file.files[0]!.bytes,
    created_at: inSeconds(file.createdAt),
    expires_at: inSeconds(file.expiresAt),
    filename,
    purpose: UPLOAD_PURPOSE,
    status: 'processed',
  };
}

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openS3Store, type S3StoreOptions } from '../../src/store/s3.ts';
import { objectStorageEnvironment, TEST_BUCKET } from '../helpers/object-storage.ts';
import { defaultStore } from '../suites/store-samples.ts';

/** An empty prefix of a started server. Child processes find the server by the variables, which are set here. */
export function makeS3Place(port: number, change: Partial<S3StoreOptions> = {}) {
  Object.assign(process.env, objectStorageEnvironment(port));
  const prefix = `p-${randomBytes(6).toString('hex')}`;
  const options = { url: `s3://${TEST_BUCKET}/${prefix}`, forcePathStyle: true, ...change };
  return {
    prefix,
    options,
    open: (more: Partial<S3StoreOptions> = {}) => openS3Store({ ...options, ...more }).then(defaultStore),
    opener: {
      module: join(import.meta.dirname, '..', '..', 'src', 'store', 's3.ts'),
      name: 'openS3Store',
      options,
    },
  };
}

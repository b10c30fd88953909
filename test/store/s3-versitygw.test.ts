import { test } from 'tap';
import { startVersitygw } from '../helpers/object-storage.ts';
import { storeSuite } from '../suites/store.ts';
import { makeS3Place } from './s3-place.ts';

test('versitygw', async (t) => {
  const server = await startVersitygw(t);
  if (server) await storeSuite('versitygw', async () => makeS3Place(server.port), t);
});

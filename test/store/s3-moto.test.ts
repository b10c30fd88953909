import { test } from 'tap';
import { startMoto } from '../helpers/object-storage.ts';
import { storeSuite } from '../suites/store.ts';
import { makeS3Place } from './s3-place.ts';

test('moto', async (t) => {
  const server = await startMoto(t);
  if (server) await storeSuite('moto', async () => makeS3Place(server.port), t);
});

import { objectStorageEnvironment, startVersitygw, TEST_BUCKET } from '../helpers/object-storage.ts';
import { startPostgres } from '../helpers/postgres.ts';
import { fineTuningSuite } from '../suites/fine-tuning.ts';

fineTuningSuite('PostgreSQL and object storage', async (t) => {
  const [server, storage] = [await startPostgres(t), await startVersitygw(t)];
  return (
    server &&
    storage && {
      QUEUE_URL: server.url,
      STORE_URL: `s3://${TEST_BUCKET}/fine-tuning`,
      S3_FORCE_PATH_STYLE: 'true',
      ...objectStorageEnvironment(storage.port),
    }
  );
});

import { join } from 'node:path';
import { startRedis } from '../helpers/redis.ts';
import { fineTuningSuite } from '../suites/fine-tuning.ts';

fineTuningSuite('Redis and a directory', async (t, directory) => {
  const server = await startRedis(t);
  return server && { QUEUE_URL: server.url, STORE_URL: join(directory, 'store') };
});

import { startRedis } from '../helpers/redis.ts';
import { deploymentSuite } from '../suites/deployments.ts';

deploymentSuite('Redis', async (t) => {
  const server = await startRedis(t);
  return server && { queueUrl: server.url };
});

import { startRedis } from '../helpers/redis.ts';
import { copySurvivalSuite } from '../suites/copy-survival.ts';

copySurvivalSuite('Redis', async (t) => (await startRedis(t))?.url);

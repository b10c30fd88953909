import { deploymentSuite } from '../suites/deployments.ts';

deploymentSuite('PGlite', async () => ({}));

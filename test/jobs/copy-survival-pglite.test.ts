import { copySurvivalSuite } from '../suites/copy-survival.ts';

copySurvivalSuite('PGlite', async () => '');

/** The OpenAPI document that is committed. */
import { createLogger } from '../observability/logger.ts';
import { createMetrics } from '../observability/metrics.ts';
import { buildApp } from './app.ts';
import type { HttpLimits } from './services.ts';

const MiB = 1024 * 1024;
const day = 86_400;

/** The limits that the committed document tells: the defaults of the settings (a test compares). A server tells its own. */
export const DOCUMENTED_LIMITS: HttpLimits = {
  maxBodyBytes: 16 * MiB,
  maxPrompts: 20_000,
  maxPromptChars: 131_072,
  maxCount: 32,
  maxWaitSeconds: 300,
  maxDeadlineSeconds: day,
  defaultRetentionSeconds: 7 * day,
  maxRetentionSeconds: 90 * day,
};

/** Stands for services in an application that never gets a request. */
function unused(): never {
  throw new Error('The application was built for its document alone.');
}

/** `openapi/openapi.json` as it should be: the document of an application with the default limits. */
export async function renderOpenapi(): Promise<string> {
  const app = await buildApp({
    authenticate: unused,
    rates: { take: unused },
    queue: { of: unused },
    models: { list: unused, get: unused, withDigest: unused, default: unused, problems: [] },
    store: { of: unused },
    files: { of: unused, list: unused },
    maxFileBytes: 0,
    validations: { find: unused },
    links: { available: true, byDefault: false, limits: {}, of: unused, ofJob: unused, check: unused },
    webhooks: {
      guard: { check: unused },
      secrets: { of: unused },
      operator: [],
      deliveries: { list: unused, replay: unused },
      notifier: { hint: unused },
    },
    destinations: { check: unused },
    copies: { find: unused },
    targets: [],
    deployments: {
      add: unused,
      find: unused,
      list: unused,
      ofJob: unused,
      takeBack: unused,
      takeBackAdapter: unused,
    },
    readiness: unused,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
    limits: DOCUMENTED_LIMITS,
  });
  try {
    return `${JSON.stringify(app.swagger(), null, 2)}\n`;
  } finally {
    await app.close();
  }
}

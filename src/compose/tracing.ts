/** Traces, where the settings name a collector. */
import { randomUUID } from 'node:crypto';
import { VERSION } from '../base/version.ts';
import type { Config } from '../config/schema.ts';
import { traceUrl } from '../config/traces.ts';
import type { Logger } from '../observability/logger.ts';
import type { Tracing } from '../observability/tracing.ts';
import type { Role } from './role.ts';

/** Starts traces where the settings name a collector; else nothing of OpenTelemetry is loaded. */
export async function openConfiguredTracing(
  config: Config,
  role: Role,
  logger: Logger,
): Promise<Tracing | undefined> {
  const url = traceUrl(config);
  if (url === undefined) return undefined;
  const { openTracing } = await import('../observability/open-tracing.ts');
  return openTracing({
    url,
    serviceName: config.otelServiceName,
    version: VERSION,
    resource: {
      'service.instance.id': randomUUID(),
      'loradrop.role': role,
    },
    sampler: config.otelTracesSampler,
    samplerRatio: config.otelTracesSamplerArg,
    logger,
  });
}

import { configErrors } from './errors.ts';
import type { Config } from './schema.ts';

/** What tells where traces go. */
type TraceSettings = Pick<
  Config,
  'otelSdkDisabled' | 'otelExporterOtlpEndpoint' | 'otelExporterOtlpTracesEndpoint'
>;

/**
 * The address that traces are posted to, or undefined where none are kept. By the convention of OTLP the signal's path is
 * added to the common endpoint and not to that of traces. Errors: `settings-invalid`.
 */
export function traceUrl(settings: TraceSettings): string | undefined {
  const { otelSdkDisabled, otelExporterOtlpEndpoint: common, otelExporterOtlpTracesEndpoint: own } = settings;
  const endpoint = own ?? common;
  if (otelSdkDisabled || endpoint === undefined) return undefined;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    const name = own === undefined ? 'OTEL_EXPORTER_OTLP_ENDPOINT' : 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
    throw configErrors.invalid(`${name} takes an address that begins with http:// or https://.`);
  }
  if (own === undefined) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

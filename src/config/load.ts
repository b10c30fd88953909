/** Environment and flags → the frozen settings of this process. The only file that reads `process.env`. */
import { Value } from 'typebox/value';
import { configErrors } from './errors.ts';
import { parseAllowedHosts, parsePublicUrl, parseTrustProxy } from './front-door.ts';
import { type Config, ConfigSchema, environmentName, type SettingName } from './schema.ts';
import { traceUrl } from './traces.ts';

/** Values as text, by setting name; undefined where not given. */
export type RawSettings = { readonly [K in SettingName]?: string | number | boolean | undefined };

const names = Object.keys(ConfigSchema.properties) as SettingName[];

/** Text as the schema's type where it is exactly that; anything else stays text, for the check to refuse. */
function fromText(schema: object, value: string | number | boolean): unknown {
  if (typeof value !== 'string' || !('type' in schema)) return value;
  // TypeBox's own conversion would truncate 1.5 to 1.
  if (schema.type === 'integer' && /^-?[0-9]+$/.test(value)) return Number(value);
  if (schema.type === 'number' && /^-?[0-9]*\.?[0-9]+$/.test(value)) return Number(value);
  if (schema.type === 'boolean' && /^(true|false|1|0)$/.test(value)) return value === 'true' || value === '1';
  return value;
}

/**
 * The settings: a flag wins over the environment, the environment over the default. An empty variable counts as unset.
 * Errors: `settings-invalid`, naming every variable that is out of its range.
 */
export function loadConfig(flags: RawSettings = {}, environment: NodeJS.ProcessEnv = process.env): Config {
  const given: Record<string, unknown> = {};
  for (const name of names) {
    const value = flags[name] ?? (environment[environmentName(name)] || undefined);
    if (value !== undefined) given[name] = fromText(ConfigSchema.properties[name], value);
  }
  const config: unknown = Value.Default(ConfigSchema, given);
  if (!Value.Check(ConfigSchema, config)) {
    const fields = [...Value.Errors(ConfigSchema, config)].map((error) => ({
      pointer: environmentName(error.instancePath.slice(1)),
      message: error.message,
    }));
    const listing = fields.map((field) => `${field.pointer} ${field.message}`).join('; ');
    throw configErrors.invalid(`${listing}.`, { fields });
  }
  if (config.retentionSeconds > config.maxRetentionSeconds) {
    throw configErrors.invalid('RETENTION_SECONDS is longer than MAX_RETENTION_SECONDS.');
  }
  if (config.headersTimeoutMs > config.requestTimeoutMs) {
    throw configErrors.invalid('HEADERS_TIMEOUT_MS is longer than REQUEST_TIMEOUT_MS.');
  }
  // Read once here, so that a bad list is refused with all other settings and not by the first request.
  parseAllowedHosts(config.allowedHosts);
  parseTrustProxy(config.trustProxy);
  parsePublicUrl(config.publicUrl);
  traceUrl(config);
  return Object.freeze(config);
}

/** Secrets of the AWS SDK, which finds them by itself. */
const SDK_SECRETS = ['AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];

/** The environment of this process, to be handed on to a process it starts: without secrets, which that one does not need. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env };
  for (const name of SDK_SECRETS) delete environment[name];
  for (const name of names) {
    if ('secret' in ConfigSchema.properties[name]) delete environment[environmentName(name)];
  }
  // Read by the exporter itself; as a rule they hold a token.
  for (const name of Object.keys(environment)) {
    if (/^OTEL_EXPORTER_OTLP_.*HEADERS$/.test(name)) delete environment[name];
  }
  return environment;
}

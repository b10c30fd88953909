/** Settings as command-line options, made from the schema. */
import { type Command, Option } from 'commander';
import { loadConfig, type RawSettings } from '../config/load.ts';
import {
  type Config,
  ConfigSchema,
  environmentName,
  flagName,
  SETTINGS,
  type SettingName,
} from '../config/schema.ts';

/** Adds an option for each setting (or for each of the named ones) to the command; those in `hidden` are not in its help. */
export function addSettingOptions(
  command: Command,
  only?: readonly SettingName[],
  hidden: readonly SettingName[] = [],
): Command {
  for (const [group, settings] of Object.entries(SETTINGS)) {
    for (const [name, schema] of Object.entries(settings)) {
      const isHidden = hidden.includes(name as SettingName);
      if (only && !only.includes(name as SettingName) && !isHidden) continue;
      const { description = '', default: fallback } = schema as { description?: string; default?: unknown };
      const about =
        fallback === undefined
          ? `env: ${environmentName(name)}`
          : `env: ${environmentName(name)}, default: ${fallback}`;
      // No commander default: the environment comes between a flag and the schema's default.
      command.addOption(
        new Option(`${flagName(name)} <value>`, `${description} (${about})`)
          .helpGroup(`${group}:`)
          .hideHelp(isHidden),
      );
    }
  }
  return command;
}

/** The settings for a command's parsed options. Errors: `settings-invalid`. */
export function configFromOptions(options: Readonly<Record<string, unknown>>): Config {
  const names = Object.keys(ConfigSchema.properties);
  return loadConfig(
    Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name))) as RawSettings,
  );
}

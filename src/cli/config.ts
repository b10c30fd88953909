/** `loradrop config`: the settings as they hold. */
import { redactConfig } from '../config/docs.ts';
import { environmentName } from '../config/schema.ts';
import { formatTable } from './output.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

export const registerConfig: Registration = (command, output) => {
  addSettingOptions(command).action((options) => {
    const shown = Object.entries(redactConfig(configFromOptions(options)));
    output.line(formatTable(shown.map(([name, value]) => [environmentName(name), String(value)])));
  });
};

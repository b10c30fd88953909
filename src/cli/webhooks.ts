/** `loradrop webhooks`: making and rotating the secrets that webhooks are signed with. */
import { resolve } from 'node:path';
import { DEFAULT_TENANT, isTenant } from '../base/ids.ts';
import type { Config } from '../config/schema.ts';
import { webhookSecretsFile } from '../jobs/open-webhooks.ts';
import {
  changeSecretFile,
  OPERATOR,
  parseSecretFile,
  readSecretFile,
  withFirstSecret,
  withRotatedSecret,
} from '../webhooks/secret-file.ts';
import { newWebhookSecret } from '../webhooks/sign.ts';
import { cliErrors } from './errors.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';
import { wholeNumber } from './whole-number.ts';

/** The settings that say where the file is. */
const FILE_SETTINGS = ['dataDir', 'webhookSecretsFile'] as const;
const HOUR_MS = 3_600_000;
/** Hours both secrets sign after a rotation, unless said otherwise: receivers have a day to take the new one. */
const DEFAULT_OVERLAP_HOURS = 24;
const MAX_OVERLAP_HOURS = 24 * 90;

const fileOf = (config: Config) =>
  resolve(webhookSecretsFile(config.webhookSecretsFile, resolve(config.dataDir)));

type OwnerOptions = { readonly tenant: string; readonly operator?: true };

function ownerOf({ tenant, operator }: OwnerOptions): string {
  if (operator) return OPERATOR;
  if (!isTenant(tenant)) {
    throw cliErrors.input('--tenant takes 1 to 40 lower-case letters, digits and hyphens inside.');
  }
  return tenant;
}

const nameOf = (owner: string) => (owner === OPERATOR ? 'the operator' : `tenant ${owner}`);

export const registerWebhooks: Registration = (command, output) => {
  const secret = command.command('secret').description('Make, rotate and list secrets.');
  const withOwner = (command: ReturnType<typeof secret.command>) =>
    addSettingOptions(
      command
        .option('--tenant <tenant>', 'whose webhooks it signs', DEFAULT_TENANT)
        .option('--operator', 'it signs what goes to WEBHOOK_ENDPOINTS'),
      FILE_SETTINGS,
    );

  withOwner(
    secret.command('create').description('Make the first secret of a tenant and print it, once.'),
  ).action(async (options: OwnerOptions & Record<string, unknown>) => {
    const owner = ownerOf(options);
    const file = fileOf(configFromOptions(options));
    const made = newWebhookSecret();
    await changeSecretFile(file, (secrets) =>
      withFirstSecret(secrets, { owner, secret: made, now: Date.now() }),
    );
    output.line(made);
    output.note(`The secret of ${nameOf(owner)} is in ${file} now. It is shown this once.`);
  });

  withOwner(
    secret
      .command('rotate')
      .description('Make a new secret and print it, once; the one before signs beside it for a while.')
      .option(
        '--overlap-hours <number>',
        'how long both sign',
        wholeNumber('--overlap-hours', 0, MAX_OVERLAP_HOURS),
        DEFAULT_OVERLAP_HOURS,
      ),
  ).action(async (options: OwnerOptions & { overlapHours: number } & Record<string, unknown>) => {
    const owner = ownerOf(options);
    const file = fileOf(configFromOptions(options));
    const made = newWebhookSecret();
    const overlapMs = options.overlapHours * HOUR_MS;
    await changeSecretFile(file, (secrets) =>
      withRotatedSecret(secrets, { owner, secret: made, overlapMs, now: Date.now() }),
    );
    output.line(made);
    output.note(
      `Webhooks of ${nameOf(owner)} carry two signatures for ${options.overlapHours} hours. The secret is shown this once.`,
    );
  });

  addSettingOptions(
    secret.command('list').description('List whose secrets there are, never the secrets themselves.'),
    FILE_SETTINGS,
  ).action(async (options: Record<string, unknown>) => {
    const file = await readSecretFile(fileOf(configFromOptions(options)));
    const secrets = file ? parseSecretFile(file.text) : [];
    for (const { owner, createdAt, expiresAt = 'never' } of secrets) {
      output.line([owner === OPERATOR ? '(operator)' : owner, createdAt, expiresAt].join('\t'));
    }
    if (secrets.length === 0) output.note('There is no secret.');
  });
};

/** `loradrop keys`: making, listing and revoking API keys in a file. */
import { join, resolve } from 'node:path';
import { digestOfKey, newApiKey } from '../access/api-key.ts';
import { type Limits, SCOPES, type Scope } from '../access/caller.ts';
import { accessErrors } from '../access/errors.ts';
import {
  changeKeyFile,
  KEY_NAME_PATTERN,
  type KeyEntry,
  parseKeyFile,
  readKeyFile,
} from '../access/key-file.ts';
import { DEFAULT_TENANT, isTenant } from '../base/ids.ts';
import type { Config } from '../config/schema.ts';
import { cliErrors } from './errors.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';
import { wholeNumber } from './whole-number.ts';

/** The settings that say where the file is. */
const FILE_SETTINGS = ['dataDir', 'apiKeysFile'] as const;

const fileOf = ({ apiKeysFile, dataDir }: Config) => resolve(apiKeysFile ?? join(dataDir, 'keys.json'));

const DURATION_MS: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 };

/** When a key expires: `90d`, `12h`, `4w` from now, or a time in ISO 8601. Errors: `input-unusable`. */
function expiryOf(text: string, now: number): string {
  const [, amount, unit] = /^([1-9][0-9]{0,4})([hdw])$/.exec(text) ?? [];
  const time = amount ? now + Number(amount) * DURATION_MS[unit!]! : Date.parse(text);
  if (Number.isNaN(time) || time <= now) {
    throw cliErrors.input(`--expires takes a time to come, like 90d, 12h or 2027-12-31: not ${text}.`);
  }
  return new Date(time).toISOString();
}

function scopesOf(text: string): Scope[] {
  const scopes = text.split(',').map((each) => each.trim());
  const unknown = scopes.filter((each) => !SCOPES.includes(each as Scope));
  if (unknown.length > 0) {
    throw cliErrors.input(
      `--scopes takes ${SCOPES.join(', ')}, separated by commas: not ${unknown.join(', ')}.`,
    );
  }
  return [...new Set(scopes)] as Scope[];
}

type CreateOptions = {
  readonly name: string;
  readonly tenant: string;
  readonly scopes: string;
  readonly expires?: string;
  readonly rate?: number;
  readonly burst?: number;
  readonly waitingJobs?: number;
  readonly runningJobs?: number;
  readonly adapters?: number;
  readonly storedBytes?: number;
};

function limitsOf({ rate, burst, ...options }: CreateOptions): Limits {
  const { waitingJobs, runningJobs, adapters, storedBytes } = options;
  const limits = {
    requestsPerSecond: rate,
    requestBurst: burst,
    waitingJobs,
    runningJobs,
    adapters,
    storedBytes,
  };
  return Object.fromEntries(Object.entries(limits).filter(([, bound]) => bound !== undefined));
}

/** Adds an entry for the options, and answers the key that belongs to it, which nothing keeps. */
async function createKey(file: string, options: CreateOptions, now: number): Promise<string> {
  const { name, tenant, expires } = options;
  if (!new RegExp(KEY_NAME_PATTERN).test(name)) {
    throw cliErrors.input('--name takes 1 to 64 letters, digits, dots, hyphens and underscores.');
  }
  if (!isTenant(tenant)) {
    throw cliErrors.input('--tenant takes 1 to 40 lower-case letters, digits and hyphens inside.');
  }
  const scopes = scopesOf(options.scopes);
  const limits = limitsOf(options);
  const key = newApiKey();
  const entry: KeyEntry = {
    name,
    tenant,
    scopes,
    sha256: digestOfKey(key),
    createdAt: new Date(now).toISOString(),
    ...(expires !== undefined && { expiresAt: expiryOf(expires, now) }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
  await changeKeyFile(file, (keys) => {
    if (keys.some((each) => each.name === name)) {
      throw accessErrors.keyName(`${name} is in use; revoke it first, or take another name.`);
    }
    return [...keys, entry];
  });
  return key;
}

export const registerKeys: Registration = (keys, output) => {
  addSettingOptions(
    keys
      .command('create')
      .description('Make a key and print it, once: only its digest is kept.')
      .requiredOption('--name <name>', 'what people call the key; unique in the file')
      .option('--tenant <tenant>', 'whose jobs and adapters it reaches', DEFAULT_TENANT)
      .option('--scopes <scopes>', `some of ${SCOPES.join(', ')}, separated by commas`, 'generate,read')
      .option('--expires <when>', 'like 90d, 12h, 4w or 2027-12-31; without it the key lasts until revoked')
      .option('--rate <number>', 'requests a second', wholeNumber('--rate', 1, 100_000))
      .option('--burst <number>', 'requests at once', wholeNumber('--burst', 1, 1_000_000))
      .option(
        '--waiting-jobs <number>',
        'jobs of the tenant that may wait',
        wholeNumber('--waiting-jobs', 0, 1_000_000),
      )
      .option(
        '--running-jobs <number>',
        'jobs of the tenant that run at once',
        wholeNumber('--running-jobs', 1, 100_000),
      )
      .option(
        '--adapters <number>',
        'adapters of the tenant in the store',
        wholeNumber('--adapters', 0, 100_000_000),
      )
      .option(
        '--stored-bytes <number>',
        'bytes of the tenant in the store',
        wholeNumber('--stored-bytes', 0, Number.MAX_SAFE_INTEGER),
      ),
    FILE_SETTINGS,
  ).action(async (options: CreateOptions & Record<string, unknown>) => {
    const file = fileOf(configFromOptions(options));
    output.line(await createKey(file, options, Date.now()));
    output.note(`The key ${options.name} is in ${file} now. It is shown this once.`);
  });

  addSettingOptions(
    keys
      .command('list')
      .description('List the keys: names, tenants, scopes and times, never the keys themselves.'),
    FILE_SETTINGS,
  )
    .option('--json', 'print JSON')
    .action(async ({ json, ...options }: { json?: boolean } & Record<string, unknown>) => {
      const file = await readKeyFile(fileOf(configFromOptions(options)));
      const entries = file ? parseKeyFile(file.text) : [];
      if (json) {
        output.line(
          JSON.stringify(
            entries.map(({ sha256: _, ...entry }) => entry),
            null,
            2,
          ),
        );
        return;
      }
      for (const { name, tenant, scopes, createdAt, expiresAt = 'never' } of entries) {
        output.line([name, tenant, scopes.join(','), createdAt, expiresAt].join('\t'));
      }
      if (entries.length === 0) output.note('There is no key.');
    });

  addSettingOptions(
    keys
      .command('revoke')
      .argument('<name>')
      .description('Revoke a key: it stops working within two seconds.'),
    FILE_SETTINGS,
  ).action(async (name: string, options: Record<string, unknown>) => {
    await changeKeyFile(fileOf(configFromOptions(options)), (entries) => {
      const left = entries.filter((each) => each.name !== name);
      if (left.length === entries.length) throw accessErrors.keyUnknown(`${name} is not in the file.`);
      return left;
    });
    output.note(`The key ${name} is revoked.`);
  });
};

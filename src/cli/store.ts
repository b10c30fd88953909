/** `loradrop store`: moving adapters from one store to another. */
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isTenant, type TenantId } from '../base/ids.ts';
import type { CopiedAdapter, CopyOutcome } from '../store/copy-store.ts';
import { cliErrors } from './errors.ts';
import { interruptible } from './interrupt.ts';
import { formatBytes, formatCount, type Output } from './output.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

/** The settings that say how object storage is reached and written to. */
const STORE_SETTINGS = [
  's3ForcePathStyle',
  's3Encryption',
  's3KmsKeyId',
  's3PartBytes',
  's3PartsInFlight',
  's3AllowUnconditionalWrites',
] as const;
/** Names of adapters that went wrong which are told one by one. */
const MAX_TOLD = 20;

type CopyOptions = {
  readonly from: string;
  readonly to: string;
  readonly tenant?: string;
  readonly dryRun?: true;
};

/** True for a store in object storage, and for a directory that is there. */
async function isThere(url: string): Promise<boolean> {
  if (/^(?!file:)[a-z][a-z0-9+.-]+:/i.test(url)) return true;
  const path = url.startsWith('file:') ? fileURLToPath(url) : resolve(url);
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function copy(options: CopyOptions & Record<string, unknown>, output: Output): Promise<void> {
  const { from: source, to: target, tenant, dryRun = false } = options;
  if (tenant !== undefined && !isTenant(tenant)) {
    throw cliErrors.input('--tenant takes 1 to 40 lower-case letters, digits and hyphens inside.');
  }
  if (!(await isThere(source))) throw cliErrors.input('--from names a directory that is not there.');
  const config = configFromOptions(options);
  // Not before it is sure that something is to be copied: what a store is made of takes a while to load.
  const { openConfiguredStore } = await import('../compose/stores.ts');
  const { copyStore } = await import('../store/copy-store.ts');
  const from = await openConfiguredStore(config, source);
  const to =
    dryRun && !(await isThere(target))
      ? undefined
      : await openConfiguredStore(config, target).catch(async (error) => {
          await from.close();
          throw error;
        });
  const tally: Record<CopyOutcome, number> = { copied: 0, there: 0, expired: 0, conflict: 0, failed: 0 };
  let bytes = 0;
  const wrong: CopiedAdapter[] = [];
  const bar = output.progress(dryRun ? 'looking' : 'copying');
  try {
    await interruptible(
      async (signal) => {
        const names: TenantId[] = [];
        for await (const name of from.list(tenant === undefined ? {} : { tenant })) {
          signal.throwIfAborted();
          names.push(name);
        }
        let done = 0;
        await copyStore({
          from,
          to,
          names,
          dryRun,
          signal,
          onAdapter(adapter) {
            done += 1;
            tally[adapter.outcome] += 1;
            if (adapter.outcome === 'copied') bytes += adapter.bytes;
            if (adapter.outcome === 'conflict' || adapter.outcome === 'failed') wrong.push(adapter);
            const label = `${formatCount(done)} of ${formatCount(names.length)} adapters, ${formatBytes(bytes)}`;
            bar.update(done / names.length, label);
          },
        });
      },
      { left: 'what was copied is whole, and the same command goes on from there' },
    );
  } finally {
    bar.stop();
    await to?.close();
    await from.close();
  }
  for (const { tenant: owner, id, outcome, error } of wrong.slice(0, MAX_TOLD)) {
    const reason = outcome === 'conflict' ? 'the target has another adapter of this name' : error?.message;
    output.note(`${owner}/${id}: ${reason}${error ? ` [${error.code}]` : ''}`);
  }
  output.line(
    [
      `${formatCount(tally.copied)} adapters ${dryRun ? 'to copy' : 'copied'} (${formatBytes(bytes)})`,
      `${formatCount(tally.there)} there already`,
      `${formatCount(tally.expired)} expired and left out`,
      `${formatCount(wrong.length)} with errors`,
    ].join(', '),
  );
  if (wrong.length > 0) {
    throw cliErrors.incomplete(
      `${formatCount(wrong.length)} adapters are not in the target as they are in the source.`,
    );
  }
}

export const registerStore: Registration = (command, output) => {
  addSettingOptions(
    command
      .command('copy')
      .description(
        'Copy all adapters into another store; what is there already is left out, so it can be begun again.',
      )
      .requiredOption('--from <url>', 'the store to read: a directory, file:// or s3://bucket/prefix')
      .requiredOption('--to <url>', 'the store to write to, in the same forms')
      .option('--tenant <tenant>', 'the adapters of this tenant alone')
      .option('--dry-run', 'tell what would be copied, and write nothing'),
    STORE_SETTINGS,
  ).action((options: CopyOptions & Record<string, unknown>) => copy(options, output));
};

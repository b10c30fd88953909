import { type LoradropError, toLoradropError } from '../base/errors.ts';
import { watchFile } from '../base/private-file.ts';
import { webhookErrors } from './errors.ts';
import { parseSecretFile, readSecretFile, type SecretEntry } from './secret-file.ts';

/** How often the file is looked at: a rotated secret signs within this. A look is one `stat`. */
const POLL_MS = 2000;

/** The webhook secrets that hold now. */
export type SecretRing = {
  /** The secrets to sign with for a tenant or the operator, the newest first; empty when there is none. */
  of(owner: string): readonly string[];
  /** Why the file cannot be used as it is now; the last good one holds meanwhile. */
  readonly damage: LoradropError | undefined;
  close(): Promise<void>;
};

/** Options of {@link openSecretRing}. */
export type SecretRingOptions = {
  readonly path: string;
  /** The file has to be there: its absence is damage and does not mean that there are no secrets. */
  readonly required: boolean;
  /** Told of every change: no damage, or the damage. */
  readonly onChange?: (damage: LoradropError | undefined) => void;
  readonly pollMs?: number;
  readonly now?: () => number;
};

/**
 * Reads the file of webhook secrets and reads it again whenever it has changed, also when a mounted Secret is replaced.
 * Errors: `webhook-secrets-file-invalid` when it cannot be used at first; later the last good state holds.
 */
export async function openSecretRing(options: SecretRingOptions): Promise<SecretRing> {
  const { path, required, onChange = () => {}, pollMs = POLL_MS, now = Date.now } = options;
  let secrets: readonly SecretEntry[] = [];
  let stamp: string | undefined;
  let damage: LoradropError | undefined;

  async function load(): Promise<void> {
    const file = await readSecretFile(path);
    stamp = file?.stamp;
    if (!file && (required || secrets.length > 0)) throw webhookErrors.secretsFile('It is not there.');
    secrets = file ? parseSecretFile(file.text) : [];
  }
  await load();
  const watch = watchFile(path, {
    stamp,
    pollMs,
    async onChange() {
      damage = await load().then(() => undefined, toLoradropError);
      onChange(damage);
    },
  });
  const signs = ({ expiresAt }: SecretEntry) => expiresAt === undefined || Date.parse(expiresAt) > now();
  return {
    of: (owner) =>
      secrets
        .filter((each) => each.owner === owner && signs(each))
        .map(({ secret }) => secret)
        .reverse(),
    get damage() {
      return damage;
    },
    close: () => watch.close(),
  };
}

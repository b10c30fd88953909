import { timingSafeEqual } from 'node:crypto';
import { type LoradropError, toLoradropError } from '../base/errors.ts';
import { watchFile } from '../base/private-file.ts';
import { digestOfKey } from './api-key.ts';
import { accessErrors } from './errors.ts';
import { type KeyEntry, parseKeyFile, readKeyFile } from './key-file.ts';

/** How often the file is looked at: a revoked key stops working within this. A look is one `stat`. */
const POLL_MS = 2000;

/** The keys that hold now. */
export type KeyRing = {
  /** True once there has been a key: from then on every request needs one, also when all have been revoked. */
  readonly guarded: boolean;
  readonly size: number;
  /** Why the file cannot be used as it is now; the last good one holds meanwhile. */
  readonly damage: LoradropError | undefined;
  /** The entry of a key, expired or not. */
  find(key: string): KeyEntry | undefined;
  close(): Promise<void>;
};

/** Options of {@link openKeyRing}. */
export type KeyRingOptions = {
  readonly path: string;
  /** The file has to be there: its absence is damage and does not mean that there are no keys. */
  readonly required: boolean;
  /** Told of every change: the number of keys, or the damage. */
  readonly onChange?: (ring: KeyRing) => void;
  readonly pollMs?: number;
};

/**
 * Reads the file of API keys and reads it again whenever it has changed, also when a mounted Secret is replaced. Errors:
 * `keys-file-invalid` when it cannot be used at first; later the last good state holds.
 */
export async function openKeyRing(options: KeyRingOptions): Promise<KeyRing> {
  const { path, required, onChange = () => {}, pollMs = POLL_MS } = options;
  let byDigest = new Map<string, KeyEntry>();
  let stamp: string | undefined;
  let guarded = false;
  let damage: LoradropError | undefined;

  async function load(): Promise<void> {
    const file = await readKeyFile(path).catch((cause) => {
      throw cause.code === 'keys-file-invalid'
        ? cause
        : accessErrors.keysFile('It cannot be read; its owner and mode may be wrong.', { cause });
    });
    stamp = file?.stamp;
    if (!file && (required || guarded)) throw accessErrors.keysFile('It is not there.');
    byDigest = new Map((file ? parseKeyFile(file.text) : []).map((entry) => [entry.sha256, entry]));
    if (byDigest.size > 0) guarded = true;
  }
  await load();

  const ring: KeyRing = {
    get guarded() {
      return guarded;
    },
    get size() {
      return byDigest.size;
    },
    get damage() {
      return damage;
    },
    find(key) {
      const digest = digestOfKey(key);
      const entry = byDigest.get(digest);
      // The map compares digests, of which nothing of the key can be learnt; this comparison costs nothing more.
      return entry && timingSafeEqual(Buffer.from(digest, 'hex'), Buffer.from(entry.sha256, 'hex'))
        ? entry
        : undefined;
    },
    close: () => watch.close(),
  };
  const watch = watchFile(path, {
    stamp,
    pollMs,
    async onChange() {
      await load().then(
        () => {
          damage = undefined;
        },
        (error) => {
          damage = toLoradropError(error);
        },
      );
      onChange(ring);
    },
  });
  return ring;
}

/** Copying a whole store into another one, of any kind. */
import { LoradropError } from '../base/errors.ts';
import type { TenantId } from '../base/ids.ts';
import { storeErrors } from './errors.ts';
import type { AdapterStore, StoredAdapter, StoredFile } from './store.ts';

/** What became of one adapter. */
export type CopyOutcome =
  /** It is in the target now, whole, with the digests of its record. */
  | 'copied'
  /** The target has it already, with the same files. */
  | 'there'
  /** Its retention is over, or it was removed meanwhile. */
  | 'expired'
  /** The target has another adapter of this name, which is left as it is. */
  | 'conflict'
  /** It could not be read or written; `error` says why. */
  | 'failed';

/** One adapter of a store's copy. */
export type CopiedAdapter = TenantId & {
  readonly outcome: CopyOutcome;
  /** Of its files; 0 where they were not read. */
  readonly bytes: number;
  readonly error?: LoradropError;
};

/** Options of {@link copyStore}. */
export type CopyStoreOptions = {
  readonly from: Pick<AdapterStore, 'of'>;
  /** Undefined stands for an empty one, into which nothing is to be written. */
  readonly to: Pick<AdapterStore, 'of'> | undefined;
  readonly names: Iterable<TenantId>;
  /** Tells what would be copied, and writes nothing. */
  readonly dryRun?: boolean;
  readonly signal: AbortSignal;
  /** Hears of every adapter once it is done. */
  readonly onAdapter: (adapter: CopiedAdapter) => void;
  readonly now?: () => number;
};

/** Failures one after the other by which a store counts as away: the rest would fail too, each after a long wait. */
const MAX_FAILURES_IN_A_ROW = 8;
/** Adapters at once: most of the time goes into waiting for one medium or the other. */
const AT_ONCE = 4;

/**
 * Copies adapters with their records. Each shows in the target in one step, so a copy that was cut off goes on where it
 * stopped when it is begun again. Errors: the reason of an abort; `store-full`; the last failure of a store that fails again
 * and again.
 */
export async function copyStore(options: CopyStoreOptions): Promise<void> {
  const { names, signal, onAdapter } = options;
  const queue = names[Symbol.iterator]();
  let failures = 0;
  let stopped = false;
  async function work(): Promise<void> {
    for (let next = queue.next(); !next.done && !stopped; next = queue.next()) {
      signal.throwIfAborted();
      const adapter = await copyOne(options, next.value);
      onAdapter(adapter);
      const { error } = adapter;
      failures = error ? failures + 1 : 0;
      const isFull = error?.code === storeErrors.full.spec.code;
      if (error && (isFull || failures >= MAX_FAILURES_IN_A_ROW)) {
        stopped = true;
        throw error;
      }
    }
  }
  const results = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function copyOne(options: CopyStoreOptions, name: TenantId): Promise<CopiedAdapter> {
  const { from, to, dryRun = false, signal, now = Date.now } = options;
  const done = (outcome: CopyOutcome, adapter?: StoredAdapter): CopiedAdapter => ({
    ...name,
    outcome,
    bytes: adapter?.files.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0,
  });
  try {
    const adapter = await from.of(name.tenant).find(name.id);
    if (!adapter || adapter.expiresAt <= now()) return done('expired', adapter);
    const there = await to?.of(name.tenant).find(name.id);
    if (there) return done(hasSameFiles(there, adapter) ? 'there' : 'conflict', adapter);
    if (dryRun || !to) return done('copied', adapter);
    const published = await transfer(adapter, { from, to, signal });
    return done(hasSameFiles(published, adapter) ? 'copied' : 'conflict', adapter);
  } catch (error) {
    if (signal.aborted || !(error instanceof LoradropError)) throw error;
    if (error.code === storeErrors.notFound.spec.code) return done('expired');
    return { ...done('failed'), error };
  }
}

/** Writes the files with their digests computed anew, and publishes them if these are the record's. */
async function transfer(
  adapter: StoredAdapter,
  {
    from,
    to,
    signal,
  }: Required<Pick<CopyStoreOptions, 'from' | 'signal'>> & { to: Pick<AdapterStore, 'of'> },
): Promise<StoredAdapter> {
  const { tenant, id, files, ...facts } = adapter;
  const draft = await to.of(tenant).draft(id);
  try {
    for (const file of files) {
      const content = await from.of(tenant).read(id, file.name, { signal });
      const written = await draft.write(file.name, content, { signal });
      if (written.sha256 !== file.sha256 || written.bytes !== file.bytes) {
        throw storeErrors.damaged(`${file.name} has another digest than its record.`);
      }
    }
    signal.throwIfAborted();
    return await draft.publish(facts);
  } finally {
    await draft.discard();
  }
}

function hasSameFiles(one: StoredAdapter, other: StoredAdapter): boolean {
  const list = ({ files }: StoredAdapter) => files.map(describe).sort().join('\n');
  return list(one) === list(other);
}

const describe = ({ name, bytes, sha256 }: StoredFile) => `${name} ${bytes} ${sha256}`;

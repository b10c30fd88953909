import { toLoradropError } from '../base/errors.ts';
import type { AdapterDraft, AdapterStore, TenantStore } from './store.ts';

/** A call to the store that has ended. */
export type StoreCall = {
  readonly operation: string;
  /** `ok`, `aborted` by its caller, or the code of its failure. */
  readonly outcome: string;
  readonly ms: number;
};

/** The store with a note of every call that reads or writes. What a write takes includes its source, which may be the decoder. */
export function observeStore(store: AdapterStore, note: (call: StoreCall) => void): AdapterStore {
  async function timed<T>(operation: string, call: Promise<T>, signal?: AbortSignal): Promise<T> {
    const startedAt = performance.now();
    const tell = (outcome: string) => note({ operation, outcome, ms: performance.now() - startedAt });
    try {
      const value = await call;
      tell('ok');
      return value;
    } catch (error) {
      tell(signal?.aborted ? 'aborted' : toLoradropError(error).code);
      throw error;
    }
  }

  function observeDraft(draft: AdapterDraft): AdapterDraft {
    return {
      write: (name, content, options) => timed('write', draft.write(name, content, options), options?.signal),
      publish: (record) => timed('publish', draft.publish(record)),
      discard: () => draft.discard(),
    };
  }

  function observeTenant(tenant: TenantStore): TenantStore {
    return {
      draft: async (id, options) => observeDraft(await tenant.draft(id, options)),
      find: (id) => timed('find', tenant.find(id)),
      findByContent: (key) => timed('find-by-content', tenant.findByContent(key)),
      copy: (source, id, record, options) => timed('copy', tenant.copy(source, id, record, options)),
      // Until the first byte can be read: what follows goes at the reader's pace.
      read: (id, file, options) => timed('read', tenant.read(id, file, options), options?.signal),
      remove: (id) => timed('remove', tenant.remove(id)),
      newest: () => timed('newest', tenant.newest()),
      usage: () => timed('usage', tenant.usage()),
      link: (id, file, options) => timed('link', tenant.link(id, file, options)),
      location: (id) => tenant.location(id),
      names: {
        find: (name) => timed('name-find', tenant.names.find(name)),
        set: (name, adapter, options) => timed('name-set', tenant.names.set(name, adapter, options)),
        remove: (name, options) => timed('name-remove', tenant.names.remove(name, options)),
        list: (options) => timed('name-list', tenant.names.list(options)),
        hasRoom: () => timed('name-room', tenant.names.hasRoom()),
      },
    };
  }

  return {
    of: (tenant) => observeTenant(store.of(tenant)),
    // A walk at its reader's pace.
    list: (options) => store.list(options),
    expired: (now, limit) => timed('expired', store.expired(now, limit)),
    ready: (options) => timed('ready', store.ready(options)),
    close: () => store.close(),
  };
}

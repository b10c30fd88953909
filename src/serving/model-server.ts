/** What every kind of model server can do for a hand-over, each in a file of its own. */
import type { Replica } from './call.ts';
import type { ProbeOutcome } from './probe.ts';

/** An adapter to hand over. */
export type ServedAdapter = {
  /** See `servedName`. */
  readonly name: string;
  /** Where the server reads it: a repository, a directory or an s3:// address. */
  readonly path: string;
};

/** An adapter that a server says it has. */
export type LoadedAdapter = { readonly name: string; readonly path?: string };

/** Fields that a request to the server has to carry to be answered with the adapter. */
export type Usage = Readonly<Record<string, unknown>>;

type Options = { readonly signal: AbortSignal };

/**
 * A kind of model server. Errors of all calls: `replica-unavailable`, `replica-refused` for an answer that says no or has
 * another form.
 */
export type ModelServer = {
  /** False where adapters are not loaded by a call: then `load` and `unload` do nothing. */
  readonly loads: boolean;
  /** What the server has; undefined where it cannot tell. */
  list(replica: Replica, options: Options): Promise<readonly LoadedAdapter[] | undefined>;
  /** Loads an adapter. An adapter of this name that is there already is no failure. */
  load(replica: Replica, adapter: ServedAdapter, options: Options): Promise<void>;
  /** Unloads an adapter. One that is not there is no failure. */
  unload(replica: Replica, name: string, options: Options): Promise<void>;
  /** Whether the server applies the adapter. Never refuses: what cannot be found out is `unknown`. */
  probe(replica: Replica, adapter: ServedAdapter, options: Options): Promise<ProbeOutcome>;
  /** What a request carries to use the adapter. */
  usage(adapter: ServedAdapter): Usage;
};

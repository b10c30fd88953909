/** Brings one replica to what it should have of one adapter: loads, unloads, looks, and checks that it is applied. */
import { toLoradropError } from '../base/errors.ts';
import type { Replica } from './call.ts';
import { servingErrors } from './errors.ts';
import type { LoadedAdapter, ModelServer, ServedAdapter } from './model-server.ts';
import type { ProbeOutcome } from './probe.ts';

/** How a replica stands with an adapter. */
export const REPLICA_STATES = [
  'loaded',
  'on-request',
  'missing',
  'forgotten',
  'unapplied',
  'refused',
  'unavailable',
  'unloaded',
] as const;
/** One of {@link REPLICA_STATES}. */
export type ReplicaState = (typeof REPLICA_STATES)[number];

/** What a replica has answered; `at` in milliseconds since the epoch. */
export type ReplicaReport = {
  readonly replica: string;
  readonly state: ReplicaState;
  readonly at: number;
  /** Times that the adapter was loaded here. */
  readonly loads: number;
  readonly probe?: ProbeOutcome;
  readonly detail?: string;
};

/** States in which nothing is left to do. */
const SETTLED: ReadonlySet<ReplicaState> = new Set(['loaded', 'on-request', 'unloaded']);

/** True when nothing is left to do at the replica. */
export function isSettled({ state }: Pick<ReplicaReport, 'state'>): boolean {
  return SETTLED.has(state);
}

/** True where the adapter is loaded and nobody could find out yet whether it is applied. */
export function isUnproven({ state, probe }: ReplicaReport): boolean {
  return state === 'loaded' && probe?.applied === 'unknown';
}

/** True when the server lists the adapter. Where nothing is loaded by a call, adapters are known by their files. */
export function isListed(
  server: ModelServer,
  listed: readonly LoadedAdapter[],
  { name, path }: ServedAdapter,
): boolean {
  return listed.some((each) => (server.loads ? each.name === name : each.path === path));
}

/** Options of {@link bring}. */
export type BringOptions = {
  readonly server: ModelServer;
  readonly adapter: ServedAdapter;
  readonly wanted: boolean;
  /** What the replica answered before. */
  readonly before: ReplicaReport | undefined;
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** Hears of failures, whose causes are for the log alone. */
  readonly onFailure: (error: unknown) => void;
};

/** Does what is missing. Rejects with the signal's reason alone: what a replica does is reported. Safe to repeat. */
export async function bring(replica: Replica, options: BringOptions): Promise<ReplicaReport> {
  const { wanted, before, now, signal, onFailure } = options;
  const report = { replica: replica.name, loads: before?.loads ?? 0 };
  try {
    const rest = wanted ? await load(replica, options) : await unload(replica, options);
    return { ...report, at: now(), ...rest };
  } catch (error) {
    signal.throwIfAborted();
    onFailure(error);
    const { code, message } = toLoradropError(error);
    const state = code === servingErrors.refused.spec.code ? 'refused' : 'unavailable';
    return { ...report, at: now(), state, detail: message };
  }
}

type Rest = Omit<ReplicaReport, 'replica' | 'at' | 'loads'> & { readonly loads?: number };

async function load(replica: Replica, { server, adapter, before, signal }: BringOptions): Promise<Rest> {
  const listed = await server.list(replica, { signal });
  if (!listed) {
    const outcome = await server.probe(replica, adapter, { signal });
    return { state: 'on-request', probe: outcome };
  }
  const there = isListed(server, listed, adapter);
  if (!there && !server.loads) {
    return { state: 'missing', detail: 'The server has to be started with the adapter’s file.' };
  }
  const isProbed = before?.probe !== undefined && before.probe.applied !== 'unknown';
  if (there && isProbed && before.state === 'loaded') return { state: 'loaded', probe: before.probe };
  let loads = before?.loads ?? 0;
  if (there && server.loads && before?.state === 'unapplied')
    await server.unload(replica, adapter.name, { signal });
  if (!there || (server.loads && before?.state === 'unapplied')) {
    await server.load(replica, adapter, { signal });
    loads += 1;
    const after = await server.list(replica, { signal });
    if (after && !isListed(server, after, adapter)) {
      return { state: 'forgotten', loads, detail: 'The server said yes and does not list the adapter.' };
    }
  }
  const outcome = await server.probe(replica, adapter, { signal });
  if (outcome.applied === false) {
    return {
      state: 'unapplied',
      loads,
      probe: outcome,
      detail: 'The server lists the adapter and answers as the base does.',
    };
  }
  return { state: 'loaded', loads, probe: outcome };
}

async function unload(replica: Replica, { server, adapter, signal }: BringOptions): Promise<Rest> {
  if (!server.loads) return { state: 'unloaded' };
  const listed = await server.list(replica, { signal });
  if (listed && !isListed(server, listed, adapter)) return { state: 'unloaded' };
  await server.unload(replica, adapter.name, { signal });
  const after = await server.list(replica, { signal });
  if (after && isListed(server, after, adapter)) {
    throw servingErrors.refused(`${replica.name} still has the adapter that it was told to unload.`);
  }
  return { state: 'unloaded' };
}

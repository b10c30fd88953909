/**
 * Names: mutable aliases of immutable adapters. Each change of a name is a numbered state that is made only where there is
 * none of that number, so that of two writers one is refused. This needs of a medium what publishing an adapter needs,
 * and no other condition on writes.
 */
import { randomBytes } from 'node:crypto';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { sha256 } from '../base/digest.ts';
import { ID_PATTERN, isName, NAME_PATTERN, TENANT_PATTERN } from '../base/ids.ts';
import { commitOf } from './commit.ts';
import { storeErrors } from './errors.ts';
import type { AdapterName, Names } from './store.ts';

/** Most names of a tenant: each is read when they are listed, and people choose among a few hundred at most. */
export const MAX_NAMES = 1000;
/** Adapters that a name remembers, so that their commits stay known: 130 kB of state, and 11 changes a day for 90 days. */
export const MAX_HISTORY = 1000;
/** Largest state: twice what a full history takes. */
export const MAX_STATE_BYTES = 512 << 10;
/** Changes that others may make between a writer's change and its look at the outcome. */
const LINEAGE = 32;
/** Rounds of one change against others of the same name; one is enough in peace. */
const MAX_ROUNDS = 16;
/** How long a deleted name keeps its mark, which stops writers who saw the name before. They take seconds at most. */
const MARK_AGE_MS = 24 * 60 * 60 * 1000;
/** States read at a time for a listing. */
const READ_BATCH = 32;

const closed = { additionalProperties: false } as const;
const StateSchema = Type.Object(
  {
    tenant: Type.String({ pattern: TENANT_PATTERN }),
    name: Type.String({ pattern: NAME_PATTERN }),
    /** Random marks of this state and the ones before it, the newest first: by them a writer finds its change again. */
    lineage: Type.Array(Type.String(), { minItems: 1 }),
    /** The newest first. Empty once the name is deleted. */
    history: Type.Array(
      Type.Object(
        {
          adapter: Type.String({ pattern: ID_PATTERN }),
          commit: Type.String({ pattern: '^[0-9a-f]{40}$' }),
          setAt: Type.Number(),
        },
        closed,
      ),
    ),
    removedAt: Type.Optional(Type.Number()),
  },
  closed,
);
type State = Static<typeof StateSchema>;
const checkState = Compile(StateSchema);

/** What a medium does for names. States are bytes under a name and a number. */
export type NameLog = {
  /** All names that have a state, in any order. */
  names(): Promise<string[]>;
  /** Numbers of the states of a name, in any order. */
  numbers(name: string): Promise<number[]>;
  /** A state, or undefined when it is gone. */
  read(name: string, number: number): Promise<Uint8Array | undefined>;
  /** Makes a state whole and durably, unless there is one of the number; false then. */
  create(name: string, number: number, bytes: Uint8Array): Promise<boolean>;
  remove(name: string, number: number): Promise<void>;
};

type Newest = { readonly number: number; readonly state: State; readonly live: AdapterName | undefined };

/** A name as its state has it, undefined for a deleted one. */
function viewOf({ name, history }: State, bytes: Uint8Array): AdapterName | undefined {
  const [current] = history;
  return current && { name, current, history, tag: sha256(bytes).slice(0, 32) };
}

/** Makes {@link Names} on a medium. */
export function createNames(log: NameLog, tenant: string, now: () => number = Date.now): Names {
  async function newest(name: string): Promise<Newest | undefined> {
    if (!isName(name)) return undefined;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const number = Math.max(0, ...(await log.numbers(name)));
      if (number === 0) return undefined;
      const bytes = await log.read(name, number);
      // A writer has put another state in its place meanwhile.
      if (!bytes) continue;
      const state = decode(bytes);
      if (state?.name !== name || state.tenant !== tenant) {
        throw storeErrors.unavailable(`The record of the name ${name} is damaged.`);
      }
      return { number, state, live: viewOf(state, bytes) };
    }
    throw busy(name);
  }

  /** Puts the state that `next` answers on top of the newest, which stays where that is undefined. */
  async function change(
    name: string,
    next: (live: AdapterName | undefined) => Pick<State, 'history' | 'removedAt'> | undefined,
  ): Promise<{ readonly before: AdapterName | undefined; readonly after: AdapterName | undefined }> {
    if (!isName(name)) throw new TypeError('A name has the form of a name.');
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const before = await newest(name);
      const wanted = next(before?.live);
      if (!wanted) return { before: before?.live, after: before?.live };
      const mark = randomBytes(8).toString('hex');
      const lineage = [mark, ...(before?.state.lineage ?? [])].slice(0, LINEAGE);
      const number = (before?.number ?? 0) + 1;
      const state = { tenant, name, lineage, ...wanted };
      const bytes = encode(state);
      await log.create(name, number, bytes);
      // Its answer does not count: one that was lost is asked for again and is then a no, and a writer that was held up
      // for long may have made a state below others.
      if (!(await newest(name))?.state.lineage.includes(mark)) continue;
      for (const each of await log.numbers(name)) if (each < number) await log.remove(name, each);
      return { before: before?.live, after: viewOf(state, bytes) };
    }
    throw busy(name);
  }

  /** Takes the mark away that a name has left which was deleted long ago. */
  async function forget({ number, state }: Newest): Promise<void> {
    if (state.removedAt === undefined || now() - state.removedAt < MARK_AGE_MS) return;
    for (const each of await log.numbers(state.name)) if (each <= number) await log.remove(state.name, each);
  }

  const all = async () => (await log.names()).filter(isName).sort();

  return {
    find: async (name) => (await newest(name))?.live,
    async set(name, adapter, { check } = {}) {
      const entry = { adapter: adapter.id, commit: commitOf(adapter), setAt: now() };
      const { before, after } = await change(name, (live) => {
        check?.(live);
        if (live?.current.commit === entry.commit) return undefined;
        return { history: [entry, ...(live?.history ?? [])].slice(0, MAX_HISTORY) };
      });
      return { name: after!, created: before === undefined };
    },
    async remove(name, { check } = {}) {
      if (!isName(name)) return false;
      const { before } = await change(name, (live) => {
        check?.(live);
        return live && { history: [], removedAt: now() };
      });
      return before !== undefined;
    },
    async list({ after = '', limit }) {
      const found: AdapterName[] = [];
      const left = (await all()).filter((name) => name > after);
      for (let from = 0; from < left.length && found.length < limit; from += READ_BATCH) {
        for (const each of await Promise.all(left.slice(from, from + READ_BATCH).map(newest))) {
          if (each?.live) found.push(each.live);
          else if (each) await forget(each);
        }
      }
      return found.slice(0, limit);
    },
    async hasRoom() {
      if ((await all()).length < MAX_NAMES) return true;
      for (const name of await all()) {
        const found = await newest(name);
        if (found) await forget(found);
      }
      return (await all()).length < MAX_NAMES;
    },
  };
}

function encode(state: State): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(state)}\n`);
}

function decode(bytes: Uint8Array): State | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return checkState.Check(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function busy(name: string) {
  return storeErrors.unavailable(`Others keep changing the name ${name}.`);
}

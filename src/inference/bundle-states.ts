/** What an engine knows of the bundles it was asked for. Pure: every change returns a new value. */
import type { Bundle } from '../models/bundle.ts';

/** A bundle that was asked for and is not loaded. */
export type WantedBundle = {
  readonly bundle: Bundle;
  /** Times the process ended while it loaded this bundle. */
  readonly losses: number;
  /** True when an earlier process had it loaded: it is tried again for as long as the engine is. */
  readonly returning: boolean;
};

/** The bundles of one engine. A bundle is either wanted or loaded; it may be `unloadable` and wanted once more. */
export type BundleStates = {
  /** In the order in which they were asked for, which is the order in which they are loaded. */
  readonly wanted: readonly WantedBundle[];
  /** By digest. */
  readonly loaded: ReadonlyMap<string, Bundle>;
  /** Why a bundle did not load or run, by digest; clients may see it. */
  readonly unloadable: ReadonlyMap<string, string>;
};

/** The bundles of an engine that was not asked for any. */
export const NO_BUNDLES: BundleStates = { wanted: [], loaded: new Map(), unloadable: new Map() };

/** The bundle of this digest, if it was asked for and is not loaded. */
export function findWanted({ wanted }: BundleStates, digest: string): WantedBundle | undefined {
  return wanted.find(({ bundle }) => bundle.digest === digest);
}

/** Puts the bundle behind the other wanted ones, unless it is wanted or loaded already. */
export function askFor(states: BundleStates, bundle: Bundle): BundleStates {
  if (states.loaded.has(bundle.digest) || findWanted(states, bundle.digest)) return states;
  return { ...states, wanted: [...states.wanted, { bundle, losses: 0, returning: false }] };
}

/** The wanted bundle of this digest has been loaded. */
export function markLoaded(states: BundleStates, digest: string): BundleStates {
  const found = findWanted(states, digest);
  if (!found) return states;
  return {
    wanted: states.wanted.filter((other) => other !== found),
    loaded: new Map(states.loaded).set(digest, found.bundle),
    unloadable: without(states.unloadable, digest),
  };
}

/** The wanted bundle of this digest is not tried again until somebody asks for it. */
export function giveUp(states: BundleStates, digest: string, reason: string): BundleStates {
  const wanted = states.wanted.filter(({ bundle }) => bundle.digest !== digest);
  return markUnloadable({ ...states, wanted }, digest, reason);
}

/** The bundle does not load, or it loads and does not run. */
export function markUnloadable(states: BundleStates, digest: string, reason: string): BundleStates {
  return { ...states, unloadable: new Map(states.unloadable).set(digest, reason) };
}

/** The bundle has run. */
export function markRun(states: BundleStates, digest: string): BundleStates {
  return { ...states, unloadable: without(states.unloadable, digest) };
}

/** The process ended while it loaded this bundle. */
export function countLoss(states: BundleStates, digest: string): BundleStates {
  const wanted = states.wanted.map((each) =>
    each.bundle.digest === digest ? { ...each, losses: each.losses + 1 } : each,
  );
  return { ...states, wanted };
}

/** The process is gone: what was loaded is wanted again, behind what was wanted already. */
export function wantLoadedAgain(states: BundleStates): BundleStates {
  const returning = [...states.loaded.values()].map((bundle) => ({ bundle, losses: 0, returning: true }));
  return { ...states, wanted: [...states.wanted, ...returning], loaded: new Map() };
}

function without(reasons: ReadonlyMap<string, string>, digest: string): ReadonlyMap<string, string> {
  if (!reasons.has(digest)) return reasons;
  const rest = new Map(reasons);
  rest.delete(digest);
  return rest;
}

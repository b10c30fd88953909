/** What the scheduler looks at and says: its state, the events that change it, the actions it asks for. */
import type { Bundle } from '../models/bundle.ts';
import { type BundleStates, NO_BUNDLES } from './bundle-states.ts';
import type { Failure, FromChildRecords } from './protocol.ts';
import type { Tagged } from './tagged.ts';

/** A request that waits for the child. */
export type QueuedRequest = {
  readonly id: number;
  readonly bundle: Bundle;
  readonly arrivedAtMs: number;
  /** Times the process ended while it worked on this request. */
  readonly losses: number;
};

/** A request that is with the child. */
export type RunningRequest = QueuedRequest & {
  /** Present once the request was canceled: when it should have stopped, and whether that time has passed. */
  readonly cancel?: { readonly overdueAtMs: number; readonly overdue: boolean };
};

/** What the child is doing. */
export type ChildActivity =
  /** There is no child, or it has not said yet that it can take work. */
  | { readonly kind: 'away' }
  /** The child is free. With `dispatchAtMs`, a micro-batch waits until then for more requests. */
  | { readonly kind: 'idle'; readonly dispatchAtMs?: number }
  | { readonly kind: 'load'; readonly digest: string }
  /** `on` is the request it works on now, or `batch` while it embeds the prompts of all of them. */
  | { readonly kind: 'batch'; readonly requests: readonly RunningRequest[]; readonly on: number | 'batch' };

/** Everything the scheduler decides by. */
export type SchedulerState = {
  /** In the order in which the requests are served. */
  readonly queue: readonly QueuedRequest[];
  readonly bundles: BundleStates;
  readonly doing: ChildActivity;
};

/** The scheduler of an engine whose first child is about to start. */
export const INITIAL_STATE: SchedulerState = {
  queue: [],
  bundles: NO_BUNDLES,
  doing: { kind: 'away' },
};

/** What happens to an engine, by type. */
export type SchedulerEvents = {
  readonly load: { readonly bundle: Bundle };
  readonly infer: { readonly id: number; readonly bundle: Bundle };
  /** Nobody waits for this request any more. */
  readonly cancel: { readonly id: number };
  /** The time that {@link nextTickAtMs} asked for has come. */
  readonly tick: object;
  /** The child takes the next load or batch. */
  readonly idle: object;
  readonly loaded: { readonly digest: string };
  readonly unloadable: { readonly digest: string; readonly failure: Failure };
  readonly working: { readonly on: number | 'batch' };
  readonly decoded: FromChildRecords['decoded'];
  readonly stopped: { readonly id: number };
  readonly failed: { readonly id: number; readonly failure: Failure };
  /** The child is gone and another one will come. `onPurpose` is true when an `endProcess` action was the cause. */
  readonly lost: { readonly failure: Failure; readonly onPurpose: boolean };
  /** There will be no child any more. */
  readonly end: { readonly failure: Failure };
};

/** One event. */
export type SchedulerEvent = Tagged<SchedulerEvents>;

/** What is to be done after an event, by type. */
export type SchedulerActions = {
  /** Have the child load this bundle. */
  readonly load: { readonly bundle: Bundle };
  /** Have the child run these requests, all of one bundle. */
  readonly run: { readonly digest: string; readonly ids: readonly number[] };
  /** Tell the child to stop this request. */
  readonly stop: { readonly id: number };
  /** Kill the child: it is stuck in work that nobody wants. */
  readonly endProcess: object;
  /** The child is free and every bundle that can be loaded is: crashes up to now no longer count. */
  readonly ready: object;
  /** Give the request's matrices to its caller. */
  readonly deliver: FromChildRecords['decoded'];
  readonly reject: { readonly id: number; readonly failure: Failure };
  /** Tell those who wait for this bundle that it is loaded, or why it is not. */
  readonly resolveLoad: { readonly digest: string };
  readonly rejectLoad: { readonly digest: string; readonly failure: Failure };
};

/** One action. */
export type SchedulerAction = Tagged<SchedulerActions>;

/** The state after an event, and the actions it asks for, in this order. */
export type Step = { readonly state: SchedulerState; readonly actions: readonly SchedulerAction[] };

/** The settings the scheduler decides by. */
export type SchedulerLimits = {
  /** Prompt tokens in a micro-batch of several requests. */
  readonly encodeTokenBudget: number;
  /** Longest a request waits for others of its bundle. */
  readonly batchWaitMs: number;
  /** How long canceled work may take to stop by itself before its process is killed. */
  readonly cancelGraceMs: number;
};

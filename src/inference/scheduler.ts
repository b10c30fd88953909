/**
 * Decides what the child process does next. Pure: an event and the time turn one state into the next and say what is to be
 * done about it, so every decision can be tested without a process or a clock.
 */
import {
  askFor,
  countLoss,
  findWanted,
  giveUp,
  markLoaded,
  markRun,
  markUnloadable,
  wantLoadedAgain,
} from './bundle-states.ts';
import { inferenceErrors } from './errors.ts';
import { nextBatch } from './micro-batch.ts';
import type { Failure } from './protocol.ts';
import type {
  ChildActivity,
  RunningRequest,
  SchedulerEvent,
  SchedulerEvents,
  SchedulerLimits,
  SchedulerState,
  Step,
} from './scheduler-state.ts';
import { type Handlers, handle } from './tagged.ts';

/** Times a piece of work may lose its process: once is bad luck, twice looks like the work's own fault. */
const MAX_LOSSES = 2;

type Context = SchedulerLimits & { readonly nowMs: number };

/** What an event at this time makes of the state. */
export function schedule(
  state: SchedulerState,
  event: SchedulerEvent,
  limits: SchedulerLimits,
  nowMs: number,
): Step {
  return handle(HANDLERS, event, state, { ...limits, nowMs });
}

/** When the scheduler wants its next `tick`; undefined while it waits for other events alone. */
export function nextTickAtMs({ doing }: SchedulerState): number | undefined {
  if (doing.kind === 'idle') return doing.dispatchAtMs;
  if (doing.kind !== 'batch') return undefined;
  const due = doing.requests.flatMap(({ cancel }) => (cancel && !cancel.overdue ? [cancel.overdueAtMs] : []));
  return due.length > 0 ? Math.min(...due) : undefined;
}

/** Ids of the running requests that progress of one request, or of the whole batch, is about. */
export function requestsAt({ doing }: SchedulerState, of: number | 'batch'): number[] {
  if (doing.kind !== 'batch') return [];
  return doing.requests
    .filter(({ id, cancel }) => !cancel && (of === 'batch' || of === id))
    .map(({ id }) => id);
}

const HANDLERS: Handlers<SchedulerEvents, Step, [SchedulerState, Context]> = {
  load: ({ bundle }, state, context) =>
    dispatch({ ...state, bundles: askFor(state.bundles, bundle) }, context),
  infer: ({ id, bundle }, state, context) => {
    const request = { id, bundle, arrivedAtMs: context.nowMs, losses: 0 };
    return dispatch({ ...state, queue: [...state.queue, request] }, context);
  },
  cancel: ({ id }, state, context) => cancel(id, state, context),
  tick: (_, state, context) => {
    if (state.doing.kind !== 'batch') return dispatch(state, context);
    const requests = state.doing.requests.map((each) => markOverdue(each, context.nowMs));
    return endWastedWork({ ...state, doing: { ...state.doing, requests } });
  },
  idle: (_, state, context) => dispatch({ ...state, doing: { kind: 'idle' } }, context),
  loaded: ({ digest }, state) => ({
    state: { ...state, bundles: markLoaded(state.bundles, digest) },
    actions: [{ type: 'resolveLoad', digest }],
  }),
  unloadable: ({ digest, failure }, state) => giveUpBundle(digest, failure, state),
  working: ({ on }, state) =>
    only(state.doing.kind === 'batch' ? { ...state, doing: { ...state.doing, on } } : state),
  decoded: (decode, state) => {
    const { id } = decode;
    const { request, rest } = takeOut(id, state);
    if (!request || request.cancel) return only(rest);
    const bundles = markRun(rest.bundles, request.bundle.digest);
    return { state: { ...rest, bundles }, actions: [{ ...decode, type: 'deliver' }] };
  },
  stopped: ({ id }, state) => only(takeOut(id, state).rest),
  failed: ({ id, failure }, state) => {
    const { request, rest } = takeOut(id, state);
    if (!request) return only(rest);
    // The first run of a bundle that loads: it does not run all the same.
    const unloadable = failure.code === inferenceErrors.unloadable.spec.code;
    const bundles = unloadable
      ? markUnloadable(rest.bundles, request.bundle.digest, failure.detail)
      : rest.bundles;
    return {
      state: { ...rest, bundles },
      actions: request.cancel ? [] : [{ type: 'reject', id, failure }],
    };
  },
  lost: (event, state) => loseProcess(event, state),
  end: ({ failure }, state) => endEverything(failure, state),
};

function only(state: SchedulerState): Step {
  return { state, actions: [] };
}

/** Gives the child its next task, if it is free and there is one. */
function dispatch(state: SchedulerState, context: Context): Step {
  if (state.doing.kind !== 'idle') return only(state);
  const [head, ...later] = state.queue;
  const bundles = head ? askFor(state.bundles, head.bundle) : state.bundles;
  const [wanted] = bundles.wanted;
  if (wanted) {
    const { bundle } = wanted;
    const doing = { kind: 'load', digest: bundle.digest } as const;
    return { state: { ...state, bundles, doing }, actions: [{ type: 'load', bundle }] };
  }
  if (!head) return { state: { ...state, doing: { kind: 'idle' } }, actions: [{ type: 'ready' }] };
  const { encodeTokenBudget: tokenBudget, batchWaitMs: waitMs, nowMs } = context;
  const { requests, dueInMs } = nextBatch([head, ...later], { tokenBudget, waitMs, nowMs });
  if (dueInMs > 0) {
    const doing = { kind: 'idle', dispatchAtMs: nowMs + dueInMs } as const;
    return { state: { ...state, doing }, actions: [{ type: 'ready' }] };
  }
  const queue = state.queue.filter((request) => !requests.includes(request));
  const ids = requests.map(({ id }) => id);
  return {
    state: { ...state, queue, doing: { kind: 'batch', requests, on: 'batch' } },
    actions: [{ type: 'ready' }, { type: 'run', digest: head.bundle.digest, ids }],
  };
}

function cancel(id: number, state: SchedulerState, { nowMs, cancelGraceMs }: Context): Step {
  const queue = state.queue.filter((request) => request.id !== id);
  const { doing } = state;
  if (doing.kind !== 'batch' || !doing.requests.some((request) => request.id === id)) {
    return only({ ...state, queue });
  }
  const requests = doing.requests.map((request) =>
    request.id === id
      ? { ...request, cancel: { overdueAtMs: nowMs + cancelGraceMs, overdue: false } }
      : request,
  );
  return { state: { ...state, queue, doing: { ...doing, requests } }, actions: [{ type: 'stop', id }] };
}

function markOverdue(request: RunningRequest, nowMs: number): RunningRequest {
  const { cancel } = request;
  return cancel ? { ...request, cancel: { ...cancel, overdue: cancel.overdueAtMs <= nowMs } } : request;
}

/** Kills the child if it is stuck in work that nobody has wanted for a while. */
function endWastedWork(state: SchedulerState): Step {
  const { doing } = state;
  if (doing.kind !== 'batch') return only(state);
  const { requests, on } = doing;
  const concerned = on === 'batch' ? requests : [requests.find(({ id }) => id === on)];
  // A batch whose requests have all ended is about to leave the child free.
  const wasted = concerned.length > 0 && concerned.every((request) => request?.cancel?.overdue);
  return { state, actions: wasted ? [{ type: 'endProcess' }] : [] };
}

/** A request of the running batch, and the state without it. */
function takeOut(
  id: number,
  state: SchedulerState,
): { readonly request?: RunningRequest; readonly rest: SchedulerState } {
  if (state.doing.kind !== 'batch') return { rest: state };
  const request = state.doing.requests.find((each) => each.id === id);
  if (!request) return { rest: state };
  const requests = state.doing.requests.filter((each) => each !== request);
  return { request, rest: { ...state, doing: { ...state.doing, requests } } };
}

/** Forgets a bundle that does not load, and the requests that wait for it. */
function giveUpBundle(digest: string, failure: Failure, state: SchedulerState): Step {
  const waiting = state.queue.filter(({ bundle }) => bundle.digest === digest);
  const queue = state.queue.filter(({ bundle }) => bundle.digest !== digest);
  const bundles = giveUp(state.bundles, digest, failure.detail);
  return {
    state: { ...state, queue, bundles },
    actions: [
      { type: 'rejectLoad', digest, failure },
      ...waiting.map(({ id }) => ({ type: 'reject', id, failure }) as const),
    ],
  };
}

/** What the child held is lost or goes back to the queue; what it had loaded is loaded again by the next one. */
function loseProcess({ failure, onPurpose }: SchedulerEvents['lost'], state: SchedulerState): Step {
  const { doing } = state;
  const { state: left, actions } =
    doing.kind === 'batch'
      ? requeue(doing, { failure, onPurpose }, state)
      : doing.kind === 'load'
        ? loseLoad(doing.digest, failure, state)
        : only(state);
  const bundles = wantLoadedAgain(left.bundles);
  return { state: { ...left, bundles, doing: { kind: 'away' } }, actions };
}

/** Puts the requests of a lost batch back in front, except those that have now lost their process too often. */
function requeue(
  { requests, on }: Extract<ChildActivity, { kind: 'batch' }>,
  { failure, onPurpose }: SchedulerEvents['lost'],
  state: SchedulerState,
): Step {
  const wanted = requests
    .filter((request) => !request.cancel)
    .map((request) => {
      const blamed = !onPurpose && (on === 'batch' || on === request.id);
      return blamed ? { ...request, losses: request.losses + 1 } : request;
    });
  const again = wanted.filter(({ losses }) => losses < MAX_LOSSES);
  const lost = wanted.filter(({ losses }) => losses >= MAX_LOSSES);
  return {
    state: { ...state, queue: [...again, ...state.queue] },
    actions: lost.map(({ id }) => ({ type: 'reject', id, failure })),
  };
}

/** Gives a bundle up that has now lost its process too often. Without one that was loaded before, the engine is of no use. */
function loseLoad(digest: string, failure: Failure, state: SchedulerState): Step {
  const bundles = countLoss(state.bundles, digest);
  const wanted = findWanted(bundles, digest);
  const next = { ...state, bundles };
  // A process may end when it has loaded the bundle and has not said yet that it is free.
  if (!wanted || wanted.returning || wanted.losses < MAX_LOSSES) return only(next);
  return giveUpBundle(digest, failure, next);
}

function endEverything(failure: Failure, state: SchedulerState): Step {
  const running = state.doing.kind === 'batch' ? state.doing.requests.filter(({ cancel }) => !cancel) : [];
  return {
    state: {
      queue: [],
      bundles: { ...state.bundles, wanted: [] },
      doing: { kind: 'away' },
    },
    actions: [
      ...[...running, ...state.queue].map(({ id }) => ({ type: 'reject', id, failure }) as const),
      ...state.bundles.wanted.map(
        ({ bundle }) => ({ type: 'rejectLoad', digest: bundle.digest, failure }) as const,
      ),
    ],
  };
}

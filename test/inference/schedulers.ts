/** Schedulers without an engine, for the tests that play every event themselves. */
import { schedule } from '../../src/inference/scheduler.ts';
import {
  INITIAL_STATE,
  type SchedulerAction,
  type SchedulerEvent,
  type SchedulerLimits,
} from '../../src/inference/scheduler-state.ts';
import type { Bundle } from '../../src/models/bundle.ts';

/** As much of a bundle as the scheduler looks at: 4 prompts of 10 tokens. */
export const bundleOf = (digest: string) =>
  ({ digest, manifest: { condition: { prompts: 4, tokens: 10 } } }) as Bundle;

/** A process that was killed. */
export const killed = { code: 'engine-lost', detail: 'The inference process ended (SIGKILL).' };
/** What the child tells of a decode besides its id. */
export const figures = {
  embeddingMs: 1,
  decodingMs: 2,
  promptsCached: 3,
  promptsEncoded: 4,
  embeddingAt: 0,
  decodingAt: 0,
};

/** A scheduler and its clock; `tell` returns the actions, without `ready` unless asked for. */
export function start(limits: Partial<SchedulerLimits> = {}) {
  const all = { encodeTokenBudget: 80, batchWaitMs: 0, cancelGraceMs: 100, ...limits };
  const scheduler = {
    state: INITIAL_STATE,
    nowMs: 1000,
    tell(event: SchedulerEvent): SchedulerAction[] {
      const { state, actions } = schedule(scheduler.state, event, all, scheduler.nowMs);
      scheduler.state = state;
      return actions.filter(({ type }) => type !== 'ready');
    },
    /** Whether the next event says that the engine has caught up. */
    tellsReady(event: SchedulerEvent): boolean {
      const { state, actions } = schedule(scheduler.state, event, all, scheduler.nowMs);
      scheduler.state = state;
      return actions.some(({ type }) => type === 'ready');
    },
    infer: (id: number, bundle: Bundle) => scheduler.tell({ type: 'infer', id, bundle }),
    idle: () => scheduler.tell({ type: 'idle' }),
    decoded: (id: number) => scheduler.tell({ type: 'decoded', id, ...figures }),
    lose: (onPurpose = false) => scheduler.tell({ type: 'lost', failure: killed, onPurpose }),
    tickAt(nowMs: number) {
      scheduler.nowMs = nowMs;
      return scheduler.tell({ type: 'tick' });
    },
    /** As after a restart or at the start: the child comes up and loads what it should. */
    comeUp(...bundles: Bundle[]) {
      scheduler.idle();
      for (const { digest } of bundles) {
        scheduler.tell({ type: 'loaded', digest });
        if (digest !== bundles.at(-1)!.digest) scheduler.idle();
      }
      return bundles.length > 0 ? scheduler.idle() : [];
    },
    queued: () => scheduler.state.queue.map(({ id }) => id),
  };
  return scheduler;
}

/** A scheduler whose child is free and has loaded these bundles. */
export function startWith(bundles: Bundle[], limits: Partial<SchedulerLimits> = {}) {
  const scheduler = start(limits);
  for (const bundle of bundles) scheduler.tell({ type: 'load', bundle });
  scheduler.comeUp(...bundles);
  return scheduler;
}

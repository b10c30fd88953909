/** THE pipeline: a generation job's payload → conditions → weight tokens → tensors → adapters in the store. */
import { inSpan } from '../observability/tracing.ts';
import { jobErrors } from './errors.ts';
import { findOrCreateAdapter } from './generate-adapter.ts';
import type { GenerateResult, JobAdapter } from './generate-queue.ts';
import { createRun, type GenerateRun, type GenerateServices, summary } from './generate-run.ts';
import { refuseTrainingFile } from './refuse-training-file.ts';
import { PutOff } from './run-job.ts';
import { setRequestedName } from './set-name.ts';
import { removeSamples, transformSamples, transformSources } from './transform-job.ts';
import type { JobHandler } from './workers.ts';

/**
 * The handler of `generate` jobs. It may run again for a job that was cut off at any point: adapters that are already
 * published are kept, the others are made, and the bytes are the same.
 * A job whose bundle this worker does not have is put off, so that another worker can take it.
 * Errors: `bundle-changed`, those of the engine, the writer, the store and adapter arithmetic.
 */
export function createGenerateHandler(services: GenerateServices): JobHandler<'generate'> {
  const { engine, now = Date.now } = services;
  return async (context) => {
    const { payload } = context;
    refuseTrainingFile(payload);
    const run = createRun(services, context);
    const adapters = payload.sources ? [await transformSources(run, payload.sources)] : await generate(run);
    await setRequestedName(payload, run.store);
    const { timings } = run.tally;
    timings.totalMs = now() - payload.acceptedAt;

    return { adapters, device: engine.device.name, ...run.tally } satisfies GenerateResult;
  };
}

async function generate(run: GenerateRun): Promise<JobAdapter[]> {
  const { services, context, tally } = run;
  const { payload, signal } = context;
  const { engine, models, now = Date.now } = services;
  const startedAt = now();
  const bundle = models.withDigest(payload.bundleDigest);
  if (!bundle) throw leaveToOthers(run);
  run.report('loading', 0);
  await inSpan(context.span, 'load bundle', () => engine.load(bundle, { signal }));
  tally.timings.loadingMs = now() - startedAt;
  run.noteStages({ loading: tally.timings.loadingMs });

  const { draws, adapterIds, sampleIds } = payload;
  if (sampleIds) {
    const adapters = await transformSamples(run, sampleIds, (index) =>
      findOrCreateAdapter(run, bundle, { draw: index, id: sampleIds[index]! }),
    );
    await removeSamples(run, sampleIds);
    return adapters;
  }
  const adapters: JobAdapter[] = [];
  for (let draw = 0; draw < draws.length; draw++) {
    signal.throwIfAborted();
    const id = adapterIds[draw]!;
    const { stored, fromStore } = await findOrCreateAdapter(run, bundle, { draw, id });
    adapters.push(summary(stored, fromStore));
    run.next();
  }
  return adapters;
}

/** How long a job waits that a worker without its bundle took; the wait doubles each time the job is taken in vain. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** Shortest time that a job without a deadline waits for a worker with its bundle: longer than a fleet takes to be upgraded. */
const MIN_BUNDLE_WAIT_MS = 24 * 3_600_000;

/** What a worker throws that does not have the job's bundle: the job is put off while another worker may have it. */
function leaveToOthers({ services, context, log }: GenerateRun): Error {
  const { shared, now = Date.now } = services;
  const { payload, attempt } = context;
  const { acceptedAt, retentionSeconds, deadlineAt = Number.POSITIVE_INFINITY } = payload;
  const giveUpAt = acceptedAt + Math.max(retentionSeconds * 1000, MIN_BUNDLE_WAIT_MS);
  if (!shared) return jobErrors.bundleChanged('The service has another version of the bundle by now.');
  if (now() >= giveUpAt)
    return jobErrors.bundleChanged('No worker had the bundle for as long as the job could wait.');
  // Many jobs of a bundle that few workers have would otherwise be moved back and forth all the time.
  const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS);
  const { model, bundleDigest } = payload;
  if (attempt === 1) log.info({ model, bundleDigest }, 'job left to a worker that has its bundle');
  // At its deadline the job is taken once more, and fails by it.
  return new PutOff(Math.min(now() + waitMs, deadlineAt, giveUpAt));
}

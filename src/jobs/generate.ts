/** THE pipeline: a generation job's payload → conditions → weight tokens → tensors → adapters in the store. */
import { inSpan } from '../observability/tracing.ts';
import { jobErrors } from './errors.ts';
import { findOrCreateAdapter } from './generate-adapter.ts';
import type { GenerateResult, JobAdapter } from './generate-queue.ts';
import { createRun, type GenerateRun, type GenerateServices, summary } from './generate-run.ts';
import { setRequestedName } from './set-name.ts';
import { removeSamples, transformSamples, transformSources } from './transform-job.ts';
import type { JobHandler } from './workers.ts';

/**
 * The handler of `generate` jobs. It may run again for a job that was cut off at any point: adapters that are already
 * published are kept, the others are made, and the bytes are the same.
 * Errors: `bundle-changed`, `model-not-found`, those of the engine, the writer, the store and adapter arithmetic.
 */
export function createGenerateHandler(services: GenerateServices): JobHandler<'generate'> {
  const { engine, now = Date.now } = services;
  return async (context) => {
    const { payload } = context;
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
  const bundle = models.get(payload.model);
  if (bundle.digest !== payload.bundleDigest) {
    throw jobErrors.bundleChanged(
      'This worker has another version of the bundle than the job was accepted for.',
    );
  }
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

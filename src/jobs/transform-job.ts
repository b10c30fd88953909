/** The part of a generation job that is adapter arithmetic: what its sources or its samples become. */
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { chooseKept } from '../arithmetic/keep.ts';
import type { Keep, TransformRecord, TransformStep } from '../arithmetic/steps.ts';
import type { Dtype } from '../base/dtype.ts';
import { targetOfAdapter } from '../models/gguf-target.ts';
import type { Licence } from '../models/licence.ts';
import { storeErrors } from '../store/errors.ts';
import { fileOf } from '../store/file-of.ts';
import type { StoredAdapter } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import type { JobAdapter } from './generate-queue.ts';
import { type GenerateRun, summary } from './generate-run.ts';
import { openStoredPeft } from './stored-peft.ts';
import { transformAdapter, type WeightedAdapter } from './transform-adapter.ts';

type Made = { readonly stored: StoredAdapter; readonly fromStore: boolean };

/**
 * Makes the job's only adapter of the tenant's own. Errors: `adapter-not-found` for one that is gone, `transform-unfit`, those
 * of the store.
 */
export async function transformSources(
  run: GenerateRun,
  sources: readonly { readonly id: string; readonly weight: number }[],
): Promise<JobAdapter> {
  const { context, store } = run;
  const { payload } = context;
  const adapters = await Promise.all(
    sources.map(async ({ id, weight }) => {
      const adapter = await store.find(id);
      if (!adapter) throw storeErrors.notFound(`The adapter ${id} is no longer there.`);
      return { adapter, weight };
    }),
  );
  return derive(run, {
    id: payload.adapterIds[0]!,
    index: 0,
    sources: adapters,
    steps: payload.transform ?? [],
    dtype: payload.dtype,
    origin: {
      sources: adapters.map(({ adapter, weight }) => ({
        id: adapter.id,
        weight,
        sha256: fileOf(adapter, ADAPTER_WEIGHTS_FILE).sha256,
      })),
    },
  });
}

/**
 * Makes each of the job's adapters of its samples, which `make` puts into the store. A sample of an earlier run is taken as it
 * is. Errors: those of `make`, `transform-unfit`, those of the store.
 */
export async function transformSamples(
  run: GenerateRun,
  sampleIds: readonly string[],
  make: (index: number) => Promise<Made>,
): Promise<JobAdapter[]> {
  const { payload, signal } = run.context;
  const { adapterIds, keep } = payload;
  const steps = payload.transform ?? [];
  const samples: StoredAdapter[] = [];
  for (let index = 0; index < sampleIds.length; index++) {
    signal.throwIfAborted();
    samples.push((await make(index)).stored);
    run.next();
  }
  if (keep) return [await keepOne(run, samples, keep)];

  const adapters: JobAdapter[] = [];
  for (const [index, adapter] of samples.entries()) {
    adapters.push(
      await derive(run, {
        id: adapterIds[index]!,
        index,
        sources: [{ adapter, weight: 1 }],
        steps,
        origin: {},
      }),
    );
    run.next();
  }
  return adapters;
}

/** Removes what was made on the way. What stays behind is removed with the job's adapters. */
export async function removeSamples(
  { store, log }: GenerateRun,
  sampleIds: readonly string[],
): Promise<void> {
  const removed = await Promise.allSettled(sampleIds.map((id) => store.remove(id)));
  const failed = removed.find((one) => one.status === 'rejected');
  if (failed) log.warn({ err: failed.reason }, 'samples stay until their retention ends');
}

async function keepOne(run: GenerateRun, samples: readonly StoredAdapter[], keep: Keep): Promise<JobAdapter> {
  const { context, store } = run;
  const { payload, signal } = context;
  const read = await Promise.all(samples.map((sample) => openStoredPeft(store, sample, { signal })));
  const { terms, steps, fromMean } = await chooseKept(read, keep, { signal });
  return derive(run, {
    id: payload.adapterIds[0]!,
    index: 0,
    sources: terms.map(({ sample, weight }) => ({ adapter: samples[sample]!, weight })),
    steps: [...steps, ...(payload.transform ?? [])],
    origin: { keep, samples: fromMean.map((share) => Number(share.toPrecision(6))) },
  });
}

async function derive(
  run: GenerateRun,
  task: {
    readonly id: string;
    readonly index: number;
    readonly sources: readonly WeightedAdapter[];
    readonly steps: readonly TransformStep[];
    readonly dtype?: Dtype;
    readonly origin: Omit<TransformRecord, 'steps' | 'energyKept'>;
  },
): Promise<JobAdapter> {
  const { services, context, store, tally, log } = run;
  const { payload, signal, id: jobId } = context;
  const { index, ...rest } = task;
  const startedAt = performance.now();
  const infos = task.sources.map(({ adapter }) => adapter.info as AdapterInfo);
  const { model, bundleDigest, trained, baseModel, architecture, heads, seed, device } = infos[0]!;
  const gguf =
    payload.format === 'gguf'
      ? targetOfAdapter({ baseModel, architecture, heads }, services.models)
      : undefined;
  const licence = licenceOfAll(infos);
  const { name, warnings } = payload;
  const { stored, fromStore } = await transformAdapter(
    store,
    {
      ...rest,
      ...(gguf && { gguf }),
      times: run.times(),
      info: {
        jobId,
        index,
        ...(name !== undefined && { name }),
        model,
        bundleDigest,
        trained: trained && infos.every((info) => info.trained),
        baseModel,
        ...(architecture !== undefined && { architecture }),
        ...(heads && { heads }),
        device,
        seed,
        ...(licence && { licence }),
        warnings,
        promptDigests: [...new Set(infos.flatMap((info) => info.promptDigests))],
      },
    },
    { signal, onProgress: (fraction) => run.report('writing', fraction) },
  );
  tally.timings.writingMs += performance.now() - startedAt;
  const made = summary(stored, fromStore);
  const { tenant } = context;
  const source = fromStore ? 'store' : 'arithmetic';
  services.metrics.adapterPublished({ tenant, model, source, bytes: made.bytes, engineMs: 0 });
  log.info({ adapter: task.id, sources: task.sources.length, bytes: made.bytes }, 'adapter made of others');
  return made;
}

/** The terms of a sum are those of all its parts; what one of them forbids stays forbidden. */
function licenceOfAll(infos: readonly AdapterInfo[]): Licence | undefined {
  const licences = infos.flatMap(({ licence }) => (licence ? [licence] : []));
  if (licences.length === 0) return undefined;
  const text = [...new Set(licences.map((licence) => licence.text))].join(' ');
  const allowed = licences.length === infos.length && licences.every((each) => each.commercialUse === true);
  const forbidden = licences.some((each) => each.commercialUse === false);
  return {
    text: text.length > 500 ? `${text.slice(0, 499)}…` : text,
    commercialUse: forbidden ? false : allowed || 'unclear',
  };
}

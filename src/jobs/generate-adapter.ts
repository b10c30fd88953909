/** One draw of a job → its adapter in the store. */
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import type { Bundle } from '../models/bundle.ts';
import { targetOfBase } from '../models/gguf-target.ts';
import type { StoredAdapter } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import { copyEqual } from './copy-equal.ts';
import type { GenerateRun } from './generate-run.ts';
import { type AdapterRequest, adapterSize, contentKey, promptDigests, writeAdapter } from './make-adapter.ts';

/** Publishes the adapter of a draw under `id`: kept from an earlier run, copied from an equal one, or made. */
export async function findOrCreateAdapter(
  run: GenerateRun,
  bundle: Bundle,
  { draw, id }: { readonly draw: number; readonly id: string },
): Promise<{ readonly stored: StoredAdapter; readonly fromStore: boolean }> {
  const { services, context, store, tally } = run;
  const { engine, metrics, logger, logPrompts } = services;
  const { payload, signal, id: jobId } = context;
  const { base, layout, trained } = bundle.manifest;
  const target = targetOfBase(base);
  const request: AdapterRequest = {
    bundle,
    prompts: payload.draws[draw]!.map((place) => payload.prompts[place]!),
    dtype: payload.dtype,
    // What is made on the way is nobody's to load.
    ...(payload.format === 'gguf' && !payload.sampleIds && { gguf: target }),
  };
  const digests = promptDigests(request.prompts);
  const key = contentKey({ ...request, promptDigests: digests }, engine.device);
  const record = {
    ...run.times(),
    contentKey: key,
    info: {
      jobId,
      index: draw,
      ...(payload.name !== undefined && { name: payload.name }),
      model: payload.model,
      bundleDigest: bundle.digest,
      trained,
      baseModel: base.id,
      ...target,
      dtype: payload.dtype,
      rank: layout.rank,
      alpha: layout.alpha,
      device: engine.device.name,
      seed: payload.seed,
      ...adapterSize(bundle),
      promptDigests: digests,
    } satisfies AdapterInfo,
  };
  if (logPrompts) logger.debug({ jobId, adapter: id, prompts: request.prompts }, 'prompts of an adapter');

  const earlier = await store.find(id);
  if (earlier?.contentKey === key) return { stored: earlier, fromStore: true };
  const copied = await copyEqual(store, id, key, () => record);
  if (copied) {
    metrics.adapters.inc({ model: payload.model, source: 'store' });
    logger.info({ jobId, adapter: id }, 'adapter taken from the store');
    return { stored: copied, fromStore: true };
  }

  const draft = await store.draft(id);
  try {
    const { inference, writingMs } = await writeAdapter(
      engine,
      request,
      (name, content) => draft.write(name, content, { signal }),
      { signal, onProgress: ({ stage, fraction }) => run.report(stage, fraction) },
    );
    const publishingAt = performance.now();
    const stored = await draft.publish(record);
    const { timings } = tally;
    timings.batchingMs += inference.timings.batchingMs;
    timings.embeddingMs += inference.timings.embeddingMs;
    timings.decodingMs += inference.timings.decodingMs;
    timings.writingMs += writingMs + performance.now() - publishingAt;
    tally.promptsEncoded += inference.promptsEncoded;
    tally.promptsCached += inference.promptsCached;
    const { bytes, sha256 } = stored.files.find(({ name }) => name === ADAPTER_WEIGHTS_FILE)!;
    const { model } = payload;
    metrics.adapters.inc({ model, source: 'decoder' });
    metrics.adapterBytes.inc({ model }, bytes);
    metrics.prompts.inc({ model, source: 'encoder' }, inference.promptsEncoded);
    metrics.prompts.inc({ model, source: 'cache' }, inference.promptsCached);
    logger.info({ jobId, adapter: id, bytes, sha256 }, 'adapter published');
    return { stored, fromStore: false };
  } finally {
    await draft.discard();
  }
}

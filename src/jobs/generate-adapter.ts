/** One draw of a job → its adapter in the store. */
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { DTYPE_BYTES } from '../base/dtype.ts';
import type { Bundle } from '../models/bundle.ts';
import { targetOfBase } from '../models/gguf-target.ts';
import { inSpan, type Span } from '../observability/tracing.ts';
import { fileOf } from '../store/file-of.ts';
import type { StoredAdapter } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import { copyEqual } from './copy-equal.ts';
import type { GenerateRun } from './generate-run.ts';
import { type AdapterRequest, adapterSize, contentKey, promptDigests, writeAdapter } from './make-adapter.ts';

/** Which adapter is wanted, and under which id. */
type Wanted = { readonly draw: number; readonly id: string };
type Found = { readonly stored: StoredAdapter; readonly fromStore: boolean };

/** Publishes the adapter of a draw under `id`: kept from an earlier run, copied from an equal one, or made. */
export function findOrCreateAdapter(run: GenerateRun, bundle: Bundle, wanted: Wanted): Promise<Found> {
  return inSpan(run.context.span, 'make adapter', (span) => makeInSpan(run, bundle, wanted, span), {
    attributes: { 'loradrop.adapter.id': wanted.id, 'loradrop.adapter.index': wanted.draw },
  });
}

async function makeInSpan(
  run: GenerateRun,
  bundle: Bundle,
  { draw, id }: Wanted,
  span: Span | undefined,
): Promise<Found> {
  const { services, context, store, tally, log } = run;
  const { engine, metrics, logPrompts } = services;
  const { payload, signal, id: jobId, tenant } = context;
  const { model } = payload;
  const { base, layout, trained, licence } = bundle.manifest;
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
  const record = () => ({
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
      ...(layout.rsLora && { rsLora: true }),
      device: engine.device.name,
      seed: payload.seed,
      licence,
      warnings: payload.warnings,
      ...adapterSize(bundle),
      promptDigests: digests,
    } satisfies AdapterInfo,
  });
  if (logPrompts) log.debug({ adapter: id, prompts: request.prompts }, 'prompts of an adapter');

  const earlier = await inSpan(span, 'store find', () => store.find(id));
  if (earlier?.contentKey === key) return { stored: earlier, fromStore: true };
  const copied = await inSpan(span, 'store copy', () => copyEqual(store, id, key, record));
  if (copied) {
    const { bytes } = fileOf(copied, ADAPTER_WEIGHTS_FILE);
    metrics.adapterPublished({ tenant, model, source: 'store', bytes, engineMs: 0 });
    log.info({ adapter: id }, 'adapter taken from the store');
    return { stored: copied, fromStore: true };
  }

  await services.storeReady();
  // Files that are written together cannot be sent again one after the other, so those are not kept.
  const draft = request.gguf
    ? await store.draft(id)
    : await services.drafts.open(store, id, {
        bytes: adapterSize(bundle).parameters * DTYPE_BYTES[payload.dtype],
        until: payload.acceptedAt + payload.retentionSeconds * 1000,
        signal,
        logger: log.child({ adapter: id }),
      });
  try {
    const { inference, writingMs } = await writeAdapter(
      engine,
      request,
      (name, content) => draft.write(name, content, { signal }),
      {
        signal,
        onProgress: ({ stage, fraction }) => run.report(stage, fraction),
        ...(span && { span }),
      },
    );
    const publishingAt = performance.now();
    const stored = await inSpan(span, 'store publish', () => draft.publish(record()));
    const { batchingMs, embeddingMs, decodingMs } = inference.timings;
    const wholeWritingMs = writingMs + performance.now() - publishingAt;
    const { timings } = tally;
    timings.batchingMs += batchingMs;
    timings.embeddingMs += embeddingMs;
    timings.decodingMs += decodingMs;
    timings.writingMs += wholeWritingMs;
    tally.promptsEncoded += inference.promptsEncoded;
    tally.promptsCached += inference.promptsCached;
    const { bytes, sha256 } = fileOf(stored, ADAPTER_WEIGHTS_FILE);
    metrics.adapterPublished({
      tenant,
      model,
      source: 'decoder',
      bytes,
      engineMs: embeddingMs + decodingMs,
    });
    run.noteStages({
      batching: batchingMs,
      embedding: embeddingMs,
      decoding: decodingMs,
      writing: wholeWritingMs,
    });
    metrics.prompts.inc({ model, source: 'encoder' }, inference.promptsEncoded);
    metrics.prompts.inc({ model, source: 'cache' }, inference.promptsCached);
    log.info({ adapter: id, bytes, sha256 }, 'adapter published');
    return { stored, fromStore: false };
  } finally {
    await draft.discard();
  }
}

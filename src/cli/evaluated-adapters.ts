/** The adapters that `loradrop evaluate` tries on a base, as GGUF files. */
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type GgufDtype, writeGguf } from '../adapter/gguf.ts';
import { openSafetensors } from '../adapter/safetensors.ts';
import { spreadOfSamples } from '../arithmetic/distances.ts';
import type { AdapterSource } from '../arithmetic/read-pairs.ts';
import type { Keep } from '../arithmetic/steps.ts';
import { transformAdapters } from '../arithmetic/transform.ts';
import type { GgufBase } from '../base/gguf-base.ts';
import type { Config } from '../config/schema.ts';
import type { Engine } from '../inference/engine.ts';
import { adapterFraction, generateMatrices, writeAdapter } from '../jobs/make-adapter.ts';
import type { LoraTensor } from '../lora/layout.ts';
import { loraTensors } from '../lora/tensors.ts';
import type { Bundle } from '../models/bundle.ts';
import { openAdapterDirectory } from './adapter-directory.ts';
import { createOfflineEngine } from './offline-engine.ts';
import { writeOutputFile } from './output-directory.ts';

/** What {@link writeEvaluatedAdapters} works with. */
export type EvaluatedAdapters = {
  readonly bundle: Bundle;
  /** What the base says of itself. */
  readonly facts: GgufBase;
  readonly config: Config;
  /** Where the files go; nothing else is in it. */
  readonly directory: string;
  /** What is kept where an adapter has several samples. */
  readonly keep?: Keep;
  readonly onProgress: (fraction: number, label: string) => void;
  readonly signal: AbortSignal;
};

const DTYPE: GgufDtype = 'f32';

/**
 * One GGUF file an adapter, in their order; `adapters` has the conditions of the samples of each. The engine is gone
 * afterwards, so that the base has its memory.
 */
export async function writeEvaluatedAdapters(
  adapters: readonly (readonly (readonly string[])[])[],
  options: EvaluatedAdapters,
): Promise<string[]> {
  const { bundle, config, directory, keep, signal } = options;
  const engine: Engine = await createOfflineEngine(config);
  try {
    await engine.load(bundle, { signal });
    const paths: string[] = [];
    for (const [index, samples] of adapters.entries()) {
      const path = join(directory, `${index}.gguf`);
      const progress = (sample: number) => (stage: Parameters<typeof adapterFraction>[0], fraction: number) =>
        options.onProgress(
          (index + (sample + adapterFraction(stage, fraction)) / samples.length) / adapters.length,
          stage,
        );
      if (keep) await writeKept(engine, samples, { ...options, keep, path, progress });
      else await writePlain(engine, samples[0]!, { ...options, path, report: progress(0) });
      paths.push(path);
    }
    return paths;
  } finally {
    await engine.close();
  }
}

type Report = (stage: Parameters<typeof adapterFraction>[0], fraction: number) => void;

async function writePlain(
  engine: Engine,
  prompts: readonly string[],
  { bundle, facts, path, report, signal }: EvaluatedAdapters & { path: string; report: Report },
): Promise<void> {
  const { tensors, matrices, inference } = await generateMatrices(
    engine,
    { bundle, prompts },
    { signal, onProgress: ({ stage, fraction }) => report(stage, fraction) },
  );
  try {
    await writeGgufFile(path, { tensors, matrices, bundle, facts, signal });
  } finally {
    inference.release();
  }
}

/** The samples as files, and what a service would keep of them. */
async function writeKept(
  engine: Engine,
  samples: readonly (readonly string[])[],
  options: EvaluatedAdapters & { keep: Keep; path: string; progress: (sample: number) => Report },
): Promise<void> {
  const { bundle, facts, directory, keep, path, progress, signal } = options;
  const work = join(directory, 'samples');
  try {
    const sources: AdapterSource[] = [];
    for (const [index, prompts] of samples.entries()) {
      const own = join(work, String(index));
      await mkdir(own, { recursive: true });
      const report = progress(index);
      await writeAdapter(
        engine,
        { bundle, prompts, dtype: 'f32' },
        (name, content) => writeOutputFile(join(own, name), content, signal),
        { signal, onProgress: ({ stage, fraction }) => report(stage, fraction) },
      );
      sources.push(await openAdapterDirectory(own));
    }
    const kept = join(work, 'kept.safetensors');
    const terms =
      keep === 'mean'
        ? sources.map((source) => ({ ...source, weight: 1 / sources.length }))
        : [{ ...sources[(await spreadOfSamples(sources, { signal })).central]!, weight: 1 }];
    const { layout } = bundle.manifest;
    const { weights } = await transformAdapters(terms, [{ type: 'rank', to: layout.rank }], { signal });
    await writeOutputFile(kept, weights(), signal);
    await using file = await openSafetensors(kept);
    const tensors = loraTensors(layout);
    async function* matrices() {
      for (const { name } of tensors) yield await file.read(name, { signal });
    }
    await writeGgufFile(path, { tensors, matrices: matrices(), bundle, facts, signal });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function writeGgufFile(
  path: string,
  {
    tensors,
    matrices,
    bundle,
    facts,
    signal,
  }: {
    tensors: readonly LoraTensor[];
    matrices: AsyncIterable<Float32Array>;
    bundle: Bundle;
    facts: GgufBase;
    signal: AbortSignal;
  },
): Promise<void> {
  const { base, layout } = bundle.manifest;
  const content = writeGguf(tensors, matrices, {
    dtype: DTYPE,
    architecture: base.architecture,
    alpha: layout.alpha,
    heads: facts,
    signal,
  });
  await pipeline(content, createWriteStream(path, { flags: 'wx' }), { signal });
}

/** The adapters that `loradrop evaluate` tries on a base, as GGUF files. */
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { convertToGguf } from '../adapter/convert-gguf.ts';
import { type GgufDtype, writeGguf } from '../adapter/gguf.ts';
import type { PeftFiles } from '../adapter/peft-files.ts';
import { chooseKept } from '../arithmetic/keep.ts';
import type { Keep } from '../arithmetic/steps.ts';
import { transformAdapters } from '../arithmetic/transform.ts';
import type { GgufBase } from '../base/gguf-base.ts';
import type { Config } from '../config/schema.ts';
import type { Engine } from '../inference/engine.ts';
import { adapterFraction, generateMatrices, writeAdapter } from '../jobs/make-adapter.ts';
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
    const { base, layout } = bundle.manifest;
    const content = writeGguf(tensors, matrices, {
      dtype: DTYPE,
      architecture: base.architecture,
      alpha: layout.alpha,
      heads: facts,
      signal,
    });
    await pipeline(content, createWriteStream(path, { flags: 'wx' }), { signal });
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
    const sources: PeftFiles[] = [];
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
    const { terms, steps } = await chooseKept(sources, keep, { signal });
    const weighted = terms.map(({ sample, weight }) => ({ ...sources[sample]!, weight }));
    const made = await transformAdapters(weighted, steps, { signal });
    const target = { architecture: bundle.manifest.base.architecture, heads: facts };
    const content = convertToGguf(made.weights(), made, { target, dtype: DTYPE, signal });
    await pipeline(content, createWriteStream(path, { flags: 'wx' }), { signal });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

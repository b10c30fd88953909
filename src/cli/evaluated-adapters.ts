/** The adapters that `loradrop evaluate` tries on a base, as GGUF files. */
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { convertToGguf } from '../adapter/convert-gguf.ts';
import type { GgufDtype } from '../adapter/gguf.ts';
import type { PeftFiles } from '../adapter/peft-files.ts';
import { chooseKept } from '../arithmetic/keep.ts';
import type { Keep } from '../arithmetic/steps.ts';
import { transformAdapters } from '../arithmetic/transform.ts';
import type { GgufBase } from '../base/gguf-base.ts';
import type { Config } from '../config/schema.ts';
import type { Engine } from '../inference/engine.ts';
import { adapterFraction, writeAdapter } from '../jobs/make-adapter.ts';
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
  options: EvaluatedAdapters & { path: string; report: Report },
): Promise<void> {
  const work = join(options.directory, 'samples');
  try {
    await mkdir(work);
    await writeGguf(await writeSample(engine, prompts, { ...options, directory: work }), options);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** An adapter in a directory, as a service would store it. */
async function writeSample(
  engine: Engine,
  prompts: readonly string[],
  { bundle, directory, report, signal }: EvaluatedAdapters & { report: Report },
): Promise<PeftFiles> {
  await writeAdapter(
    engine,
    { bundle, prompts, dtype: DTYPE },
    (name, content) => writeOutputFile(join(directory, name), content, signal),
    { signal, onProgress: ({ stage, fraction }) => report(stage, fraction) },
  );
  return await openAdapterDirectory(directory);
}

/** An adapter's GGUF file for the base that is judged. */
async function writeGguf(
  files: PeftFiles,
  { bundle, facts, path, signal }: EvaluatedAdapters & { path: string },
): Promise<void> {
  const target = { architecture: bundle.manifest.base.architecture, heads: facts };
  const content = convertToGguf(await files.openWeights(), files, { target, dtype: DTYPE, signal });
  await pipeline(content, createWriteStream(path, { flags: 'wx' }), { signal });
}

/** The samples as files, and what a service would keep of them. */
async function writeKept(
  engine: Engine,
  samples: readonly (readonly string[])[],
  options: EvaluatedAdapters & { keep: Keep; path: string; progress: (sample: number) => Report },
): Promise<void> {
  const { directory, keep, progress, signal } = options;
  const work = join(directory, 'samples');
  try {
    const sources: PeftFiles[] = [];
    for (const [index, prompts] of samples.entries()) {
      const own = join(work, String(index));
      await mkdir(own, { recursive: true });
      const report = progress(index);
      sources.push(await writeSample(engine, prompts, { ...options, directory: own, report }));
    }
    const { terms, steps } = await chooseKept(sources, keep, { signal });
    const weighted = terms.map(({ sample, weight }) => ({ ...sources[sample]!, weight }));
    const made = await transformAdapters(weighted, steps, { signal });
    await writeGguf({ ...made, openWeights: async () => made.weights() }, options);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

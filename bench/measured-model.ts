import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bundle } from '../src/models/bundle.ts';
import { importCheckpoint } from '../src/models/import/import-checkpoint.ts';
import { openSynthetic } from '../src/models/import/open-synthetic.ts';
import { presetArchitecture } from '../src/models/import/presets.ts';
import { syntheticStateDict } from '../src/models/import/synthetic-state-dict.ts';
import { writeStateDict } from '../src/models/import/write-state-dict.ts';
import { openBundle } from '../src/models/open.ts';
import type { ConditionRequest } from './make-condition.ts';
import type { BenchOptions } from './options.ts';
import { makePrompts } from './prompts.ts';

/** Tokens in one run of the encoder: the service's default. */
export const ENCODE_TOKEN_BUDGET = 8192;

/** A bundle and the same things as files that PyTorch reads. */
export type MeasuredModel = AsyncDisposable & {
  readonly bundle: Bundle;
  /** Exactly N of them, all different. */
  readonly prompts: readonly string[];
  readonly checkpoint: string;
  /** Raw float32 `[1, N, Lt, C]` of the prompts. */
  readonly condition: string;
  /** The layout of the adapter, as JSON. */
  readonly layout: string;
  /** A directory for results; disposing removes it with everything that was made. */
  readonly directory: string;
};

/** A bundle, given or made with random weights; disposing removes what was made. */
export async function openMeasuredBundle(
  options: BenchOptions,
): Promise<AsyncDisposable & Pick<MeasuredModel, 'bundle' | 'directory'>> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  const remove = () => rm(directory, { recursive: true, force: true });
  const { preset, seed, encoder } = options;
  try {
    if (options.bundle !== undefined) {
      return { bundle: await openBundle(options.bundle), directory, [Symbol.asyncDispose]: remove };
    }
    await using source = await openSynthetic(preset, {
      seed,
      ...(encoder === undefined ? {} : { encoderDirectory: encoder }),
    });
    const bundle = await importCheckpoint({ ...source, out: join(directory, 'bundle'), id: preset.name });
    return { bundle, directory, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Everything that both sides of a comparison need, in files. */
export async function openMeasuredModel(options: BenchOptions): Promise<MeasuredModel> {
  const measured = await openMeasuredBundle(options);
  const { bundle, directory } = measured;
  const { preset, seed, threads } = options;
  const { layout, condition } = bundle.manifest;
  try {
    const prompts = makePrompts(condition.prompts);
    const files = {
      checkpoint: options.checkpoint ?? join(directory, 'decoder.safetensors'),
      condition: join(directory, 'condition.f32'),
      layout: join(directory, 'layout.json'),
    };
    await writeFile(files.layout, JSON.stringify(layout));
    if (options.checkpoint === undefined) {
      await writeStateDict(files.checkpoint, syntheticStateDict(presetArchitecture(preset), layout, seed));
    }
    await makeCondition({ bundle, prompts, threads, tokenBudget: ENCODE_TOKEN_BUDGET, out: files.condition });
    return { ...measured, ...files, prompts };
  } catch (error) {
    await measured[Symbol.asyncDispose]();
    throw error;
  }
}

async function makeCondition(request: ConditionRequest): Promise<void> {
  const child = fork(join(import.meta.dirname, 'make-condition.ts'));
  child.send(request);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`making the condition ended with ${code}`);
}

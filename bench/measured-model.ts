import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Bundle } from '../src/models/bundle.ts';
import { writeStateDict } from '../src/models/import/checkpoint/write-state-dict.ts';
import { presetArchitecture, presetBase } from '../src/models/import/dnd/presets.ts';
import { syntheticStateDict } from '../src/models/import/dnd/synthetic-state-dict.ts';
import { openBundle } from '../src/models/open.ts';
import type { ConditionRequest } from './make-condition.ts';
import type { BenchOptions } from './options.ts';
import { makePrompts } from './prompts.ts';

const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts');

/** Tokens in one run of the encoder: twice the service's default. */
export const ENCODE_TOKEN_BUDGET = 8192;

/** A bundle and the same things as files that PyTorch reads. */
export type MeasuredModel = AsyncDisposable & {
  readonly bundle: Bundle;
  /** What making the bundle took; absent where it was given. */
  readonly importing?: { readonly seconds: number; readonly peakBytes: number };
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
): Promise<AsyncDisposable & Pick<MeasuredModel, 'bundle' | 'directory' | 'importing'>> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-bench-'));
  // An interrupted benchmark would leave gigabytes.
  const removeNow = () => rmSync(directory, { recursive: true, force: true });
  process.once('exit', removeNow);
  const remove = async () => {
    await rm(directory, { recursive: true, force: true });
    process.off('exit', removeNow);
  };
  const { preset, seed, encoder, memoryBudget } = options;
  try {
    if (options.bundle !== undefined) {
      return { bundle: await openBundle(options.bundle), directory, [Symbol.asyncDispose]: remove };
    }
    const out = join(directory, 'bundle');
    const importing = await runImport([
      ...['--synthetic', preset.name, '--seed', String(seed), '--out', out, '--id', preset.name],
      ...['--target', options.device.startsWith('cuda') ? 'cuda' : 'cpu'],
      ...(encoder === undefined ? [] : ['--encoder', encoder]),
      ...(memoryBudget === undefined ? [] : ['--memory-budget', memoryBudget]),
    ]);
    return { bundle: await openBundle(out), directory, importing, [Symbol.asyncDispose]: remove };
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
      await writeStateDict(
        files.checkpoint,
        syntheticStateDict(presetArchitecture(preset), presetBase(preset).layout, seed),
      );
    }
    await makeCondition({ bundle, prompts, threads, tokenBudget: ENCODE_TOKEN_BUDGET, out: files.condition });
    return { ...measured, ...files, prompts };
  } catch (error) {
    await measured[Symbol.asyncDispose]();
    throw error;
  }
}

/** Runs `loradrop import` in a process of its own, whose memory is measured. */
export async function runImport(args: readonly string[]): Promise<{ seconds: number; peakBytes: number }> {
  const startedAt = performance.now();
  const child = spawn(
    process.execPath,
    ['--import', join(import.meta.dirname, 'report-peak.ts'), MAIN, 'import', ...args],
    { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] },
  );
  const [peak, [code]] = await Promise.all([text(child.stdio[3] as Readable), once(child, 'close')]);
  if (code !== 0) throw new Error(`the import ended with ${code}`);
  return { seconds: (performance.now() - startedAt) / 1000, peakBytes: Number(peak) };
}

async function makeCondition(request: ConditionRequest): Promise<void> {
  const child = fork(join(import.meta.dirname, 'make-condition.ts'));
  child.send(request);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`making the condition ended with ${code}`);
}

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { findBase } from '../../../../src/lora/bases.ts';
import { openStateDict } from '../../../../src/models/import/checkpoint/open-state-dict.ts';
import type { StateDict } from '../../../../src/models/import/checkpoint/state-dict.ts';
import { writeStateDict } from '../../../../src/models/import/checkpoint/write-state-dict.ts';
import { inferArchitecture } from '../../../../src/models/import/dnd/architecture.ts';
import { PRESETS, presetArchitecture, presetBase } from '../../../../src/models/import/dnd/presets.ts';
import { syntheticStateDict } from '../../../../src/models/import/dnd/synthetic-state-dict.ts';
import { importCheckpoint } from '../../../../src/models/import/import-checkpoint.ts';
import { IMPORT_FACTS, TINY_BASE, writeEncoder } from '../../small-bundle.ts';

const TINY = {
  kernel: 3,
  features: [
    [3, 6, 8],
    [4, 5, 7],
    [9, 4, 6],
  ],
  projection: { tokens: 10, positions: 6 },
} as const;

/** The most a chunk of any published size may take: what "bounded" means here. */
const MAX_CHUNK_BYTES = 4 << 20;

async function whole(stateDict: StateDict, name: string): Promise<number[]> {
  const values: number[] = [];
  for await (const chunk of stateDict.stream(name)) values.push(...chunk);
  return values;
}

test('tensors are the same for a seed in any order, others for another seed, and of the shapes they say', async (t) => {
  const [one, two, other] = [1, 1, 2].map((seed) => syntheticStateDict(TINY, TINY_BASE.layout, seed));
  t.same(inferArchitecture(one!.entries).architecture, TINY);
  const names = one!.entries.map(({ name }) => name);
  t.same(names, [...names].sort());
  const forwards = new Map<string, number[]>();
  for (const name of names) forwards.set(name, await whole(one!, name));
  for (const { name, shape } of one!.entries.toReversed()) {
    const values = forwards.get(name)!;
    t.equal(
      values.length,
      shape.reduce((a, b) => a * b),
      name,
    );
    t.same(await whole(two!, name), values, name);
    // The scale pattern of the last layer is the same for every seed.
    if (name !== 'model.decoder.module_list.1.linear1.bias')
      t.notSame(await whole(other!, name), values, name);
  }
});

test('every published size streams in bounded chunks, from the start of each tensor', async (t) => {
  for (const preset of PRESETS) {
    const stateDict = syntheticStateDict(presetArchitecture(preset), presetBase(preset).layout, 0);
    let largest = 0;
    for (const { name, shape } of stateDict.entries) {
      for await (const chunk of stateDict.stream(name)) {
        largest = Math.max(largest, chunk.byteLength);
        if (shape.reduce((a, b) => a * b) > 1 << 16) break;
      }
    }
    t.ok(largest <= MAX_CHUNK_BYTES, `${preset.name}: ${largest} bytes`);
  }
});

test('inner kernels keep the variance, and an abort ends a stream', async (t) => {
  const preset = PRESETS.find(({ name }) => name === 'two-minute')!;
  const stateDict = syntheticStateDict(presetArchitecture(preset), findBase(preset.base)!.layout, 0);
  const name = 'model.decoder.module_list.0.linear1.conv1w.weight';
  const controller = new AbortController();
  let [sum, squares, count] = [0, 0, 0];
  await t.rejects(
    async () => {
      for await (const chunk of stateDict.stream(name, { signal: controller.signal })) {
        for (const value of chunk) [sum, squares, count] = [sum + value, squares + value * value, count + 1];
        if (count > 1e6) controller.abort();
      }
    },
    { name: 'AbortError' },
  );
  const fanIn = 384 * 81;
  t.ok(Math.abs((squares / count) * fanIn - 1) < 0.01, 'variance 1 / fan-in');
  t.ok(Math.abs(sum / count) * Math.sqrt(fanIn) < 0.005, 'mean 0');
});

test('a checkpoint written to a file imports as the state dict itself does', async (t) => {
  const root = t.testdir({ files: {} });
  const stateDict = syntheticStateDict(TINY, TINY_BASE.layout, 5);
  const encoderDirectory = join(root, 'encoder');
  await writeEncoder(encoderDirectory, 8);
  const checkpoint = join(root, 'files', 'weights.safetensors');
  const progress: number[] = [];
  await writeStateDict(checkpoint, stateDict, { onProgress: (doneBytes) => progress.push(doneBytes) });
  const options = { ...IMPORT_FACTS, encoderDirectory, base: TINY_BASE };
  const direct = await importCheckpoint({ ...options, checkpoint: stateDict, out: join(root, 'direct') });
  const read = await importCheckpoint({ ...options, checkpoint, out: join(root, 'read') });
  t.equal(read.digest, direct.digest);
  t.equal(progress.at(-1), direct.manifest.generator.parameters * 4);

  const file = await openStateDict(checkpoint);
  t.teardown(() => file.close());
  t.same(
    file.entries.map(({ name, shape }) => ({ name, shape })),
    stateDict.entries.map(({ name, shape }) => ({ name, shape })),
  );
  const controller = new AbortController();
  const aborted = writeStateDict(join(root, 'files', 'aborted'), stateDict, {
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await t.rejects(aborted, { name: 'AbortError' });
  t.same(await readdir(join(root, 'files')), ['weights.safetensors'], 'nothing half-made is left');
});

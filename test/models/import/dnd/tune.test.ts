import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { createGraphRunner } from '../../../../src/inference/graph-runner.ts';
import type { GraphRunner } from '../../../../src/models/graph-runner.ts';
import { decoderMemory } from '../../../../src/models/import/dnd/graph-memory.ts';
import { planDecoder } from '../../../../src/models/import/dnd/plan.ts';
import { type Tuning, tuneDecoder } from '../../../../src/models/import/dnd/tune.ts';
import { referenceTokens } from '../../reference-decoder.ts';
import { type DecoderShape, importSmallBundle } from '../../small-bundle.ts';

const MEMORY_BYTES = 2 ** 30;

/** Two layers for the tiny base; the axes of the first are long enough for several tiles. */
const SHAPE: DecoderShape = {
  kernel: 5,
  features: [
    [6, 14, 8],
    [5, 12, 7],
    [9, 4, 6],
  ],
};
const ARCHITECTURE = { ...SHAPE, projection: undefined };

/**
 * A runner that runs graphs for real, and a clock on which a run of a spectral one takes `spectralMs` and of a direct one
 * `directMs`. `open` counts graphs that are not closed.
 */
function timedRunner(times: { spectralMs: number; directMs: number }) {
  const run = createGraphRunner({ threads: 1, keepsMemory: true });
  const state = { nowMs: 0, opened: 0, open: 0 };
  const runner: GraphRunner = async (model) => {
    const graph = await run(model);
    state.opened++;
    state.open++;
    return {
      async run(inputs, output) {
        await graph.run(inputs, output);
        state.nowMs += 'spectra' in inputs ? times.spectralMs : times.directMs;
      },
      async close() {
        state.open--;
        await graph.close();
      },
    };
  };
  return { state, runner, now: () => state.nowMs };
}

const formsOf = (plan: ReadonlyMap<string, { form: { form: string } }>) =>
  [...plan.values()].map(({ form }) => form.form);

test('what is measured decides: the model would compute all of a tiny decoder directly', async (t) => {
  const modelled = planDecoder(ARCHITECTURE, { memoryBytes: MEMORY_BYTES });
  t.ok(formsOf(modelled).every((form) => form === 'direct'));

  const progress: [number, number][] = [];
  const spectral = timedRunner({ spectralMs: 1, directMs: 1000 });
  const quick = await tuneDecoder(ARCHITECTURE, {
    ...spectral,
    memoryBytes: MEMORY_BYTES,
    onProgress: (done, total) => progress.push([done, total]),
  });
  t.ok(formsOf(quick.plan).every((form) => form === 'spectral'));
  t.equal(quick.tuning.changes.length, 10);
  t.match(quick.tuning.changes[0], { name: 'layer0.conv1w', from: { form: { form: 'direct' }, seconds: 1 } });
  const { modelledSeconds, untunedSeconds, tunedSeconds } = quick.tuning;
  t.ok(modelledSeconds < 0.1 && Math.abs(untunedSeconds - 10) < 1e-9);
  t.ok(tunedSeconds < 0.1, `${tunedSeconds} s in the tuned plan`);
  t.strictSame(
    progress.map(([done]) => done),
    progress.map((_, at) => at + 1),
  );
  t.strictSame(progress.at(-1), [spectral.state.opened, spectral.state.opened]);
  t.equal(spectral.state.open, 0);

  const direct = timedRunner({ spectralMs: 1000, directMs: 1 });
  const slow = await tuneDecoder(ARCHITECTURE, { ...direct, memoryBytes: MEMORY_BYTES });
  t.ok(formsOf(slow.plan).every((form) => form === 'direct'));
  t.strictSame(slow.tuning.changes, []);
});

test('what one look found slow, because the machine was busy, is looked at again', async (t) => {
  const times = { spectralMs: 100, directMs: 1000 };
  const busy = timedRunner(times);
  const totals: number[] = [];
  const { plan, tuning } = await tuneDecoder(ARCHITECTURE, {
    ...busy,
    memoryBytes: MEMORY_BYTES,
    onProgress: (done, total) => {
      if (done < total) return;
      totals.push(total);
      times.directMs = 1;
    },
  });
  t.equal(totals.length, 2, 'all that changed, once more');
  t.ok(totals[1]! > totals[0]!);
  t.ok(formsOf(plan).every((form) => form === 'direct'));
  t.strictSame(tuning.changes, []);
});

test('a tuned plan keeps to the budget, and kernels beyond it are not even timed', async (t) => {
  const { state, ...spectral } = timedRunner({ spectralMs: 1, directMs: 1000 });
  const free = await tuneDecoder(ARCHITECTURE, { ...spectral, memoryBytes: MEMORY_BYTES });
  const needed = decoderMemory(ARCHITECTURE, free.plan);
  const smallest = decoderMemory(ARCHITECTURE, planDecoder(ARCHITECTURE, { memoryBytes: 1 }));
  const memoryBytes = Math.ceil((needed + smallest) / 2);
  const tight = await tuneDecoder(ARCHITECTURE, { ...spectral, memoryBytes });
  t.ok(decoderMemory(ARCHITECTURE, tight.plan) <= memoryBytes);
  t.ok(tight.tuning.tunedSeconds > free.tuning.tunedSeconds);
  t.equal(new Set(formsOf(tight.plan)).size, 2, 'some spectral, some direct');

  const { opened } = state;
  const untimed = await tuneDecoder(ARCHITECTURE, { ...spectral, memoryBytes: 1 });
  t.equal(state.opened, opened);
  t.ok(formsOf(untimed.plan).every((form) => form === 'direct'));
});

test('it stops between runs when it is aborted, and closes what it opened', async (t) => {
  const { state, ...spectral } = timedRunner({ spectralMs: 1, directMs: 1 });
  const controller = new AbortController();
  const tuning = tuneDecoder(ARCHITECTURE, {
    ...spectral,
    memoryBytes: MEMORY_BYTES,
    signal: controller.signal,
    onProgress: (done) => {
      if (done === 2) controller.abort();
    },
  });
  await t.rejects(tuning, { name: 'AbortError' });
  t.strictSame([state.opened, state.open], [2, 0]);
});

test('an import plans from times of its machine, and the decoder stays exact', async (t) => {
  const times: Tuning[] = [];
  const { bundle, tensors } = await importSmallBundle(t.testdir(), SHAPE, {
    optimise: {
      memoryBytes: MEMORY_BYTES,
      fromMultiplyAdds: 0,
      runner: createGraphRunner({ threads: 1 }),
      tune: {
        runner: createGraphRunner({ threads: 1, keepsMemory: true }),
        onTuned: (tuning) => times.push(tuning),
      },
    },
  });
  t.equal(times.length, 1);
  t.ok(times[0]!.tunedSeconds > 0 && Number.isFinite(times[0]!.tunedSeconds));
  const manifest = JSON.parse(await readFile(join(bundle.directory, 'bundle.json'), 'utf8'));
  t.equal(manifest.dnd!.tuned, true);

  const session = await InferenceSession.create(join(bundle.directory, 'decoder.onnx'));
  t.teardown(() => session.release());
  const condition = new Float32Array(6 * 14 * 8);
  fillUniform(seededRandom(2), condition, 1);
  const { tokens } = await session.run({ condition: new Tensor('float32', condition, [1, 6, 14, 8]) });
  const expected = [...referenceTokens({ ...SHAPE, tensors }, condition)].flatMap((token) => [...token]);
  const magnitude = Math.max(...expected.map(Math.abs));
  const actual = tokens!.data as Float32Array;
  t.equal(actual.length, expected.length);
  t.ok(expected.every((value, at) => Math.abs(value - actual[at]!) < 1e-5 * magnitude));
});

import { join } from 'node:path';
import { test } from 'tap';
import { createByteLru } from '../../src/base/lru.ts';
import { createConditionMaker } from '../../src/inference/conditions.ts';
import { type Encoder, openEncoder, type Slice } from '../../src/inference/encoder.ts';
import type { Device } from '../../src/inference/engine.ts';
import { openTokenizer } from '../../src/inference/tokenizer.ts';
import type { Bundle } from '../../src/models/bundle.ts';
import { slicedBundle, somePrompts, untrainedBundle, variant, withToyEncoder } from './bundles.ts';

const cpu: Device = { provider: 'cpu', name: 'cpu', threads: 2 };

const quietly = () => ({
  signal: new AbortController().signal,
  turn: async () => {},
  onProgress: () => {},
});

const openBundleTokenizer = async ({ directory, manifest }: Bundle) =>
  (await openTokenizer(join(directory, manifest.tokenizer.file), manifest.condition)).tokenize;

/** A condition maker over the real encoder, and the sizes of the runs it asks for. */
async function observedMaker(bundle: Bundle, options: { cacheBytes: number; tokenBudget: number }) {
  const encoder = await openEncoder(bundle, cpu, options);
  const runs: number[] = [];
  const observed: Encoder = {
    ...encoder,
    encode(slices) {
      runs.push(slices.length);
      return encoder.encode(slices);
    },
  };
  const cache = createByteLru<Float32Array>(options.cacheBytes);
  const tokenize = await openBundleTokenizer(bundle);
  return { make: createConditionMaker({ bundle, encoder: observed, tokenize, cache }), runs, cache, encoder };
}

test('with the untrained bundle', async (t) => {
  const bundle = await untrainedBundle(t);
  const { tokens, width } = bundle.manifest.condition;

  t.test('a prompt’s embedding does not depend on its neighbours, bit for bit', async (t) => {
    const encoder = await openEncoder(bundle, cpu, { tokenBudget: 1e6 });
    t.equal(encoder.maxSlices, 32);
    t.notOk(encoder.fixedShape);
    const tokenize = await openBundleTokenizer(bundle);
    const slices: Slice[] = [...somePrompts(bundle, 'a'), ...somePrompts(bundle, 'b much longer one')].map(
      tokenize,
    );
    const alone = await Promise.all(slices.map(async (slice) => (await encoder.encode([slice]))[0]!));
    for (const size of [2, 3, 5, 8, 15, 16, 31, 32]) {
      for (const start of [0, 7]) {
        const order = Array.from({ length: size }, (_, index) => (start + index * 5) % slices.length);
        const together = await encoder.encode(order.map((index) => slices[index]!));
        const equal = together.every(
          (hidden, index) => Buffer.compare(bytes(hidden), bytes(alone[order[index]!]!)) === 0,
        );
        t.ok(equal, `runs of ${size} from ${start}`);
      }
    }
  });

  t.test('every distinct prompt is encoded once, in runs of the budget', async (t) => {
    const { make, runs } = await observedMaker(bundle, { cacheBytes: 1 << 24, tokenBudget: 6 * tokens });
    const prompts = somePrompts(bundle, 'x');
    const fractions: number[] = [];
    const all = [...prompts, ...prompts, prompts[0]!];
    const embeddings = await make(all, { ...quietly(), onProgress: (fraction) => fractions.push(fraction) });
    t.strictSame(runs, [6, 6, 4]);
    t.strictSame(fractions, [0, 6 / 16, 12 / 16, 1]);
    t.strictSame(embeddings.sources(all), { cached: 0, encoded: 16 });

    const again = await make([...prompts.slice(0, 15), 'a new one'], quietly());
    t.strictSame(runs, [6, 6, 4, 1], 'only the new one');
    t.strictSame(again.sources([prompts[0]!, 'a new one']), { cached: 1, encoded: 1 });
    t.strictSame(again.condition([prompts[3]!]), embeddings.condition([prompts[3]!]), 'the same numbers');

    const room = embeddings.condition([prompts[4]!]);
    t.equal(again.condition([prompts[3]!], room), room, 'memory that was used before');
    t.strictSame(room, embeddings.condition([prompts[3]!]));
  });

  t.test('the cache is bounded, and what does not fit is encoded again', async (t) => {
    const { make, runs, cache } = await observedMaker(bundle, {
      cacheBytes: 4 * tokens * width * 4,
      tokenBudget: 64 * tokens,
    });
    const prompts = somePrompts(bundle, 'x');
    const first = (await make(prompts, quietly())).condition(prompts);
    t.equal(cache.size, 4);
    t.strictSame((await make(prompts, quietly())).condition(prompts), first);
    t.strictSame(runs, [16, 12]);
  });

  t.test('padding and a prompt that spells it are different things', async (t) => {
    const { make } = await observedMaker(bundle, { cacheBytes: 1 << 24, tokenBudget: 1e6 });
    const pair = ['pad', 'pad [PAD]'];
    const embeddings = await make(pair, quietly());
    t.strictSame(embeddings.sources(pair), { cached: 0, encoded: 2 });
    t.not(
      Buffer.compare(bytes(embeddings.condition(['pad'])), bytes(embeddings.condition(['pad [PAD]']))),
      0,
    );
  });

  t.test('the order of prompts is the order of the condition', async (t) => {
    const { make } = await observedMaker(bundle, { cacheBytes: 1 << 24, tokenBudget: 1e6 });
    const [a, b] = ['first', 'second'] as const;
    const embeddings = await make([a, b], quietly());
    const condition = embeddings.condition([b, a, b]);
    t.equal(condition.length, 3 * tokens * width);
    const third = (index: number) => condition.slice(index * tokens * width, (index + 1) * tokens * width);
    t.strictSame(
      [third(0), third(1), third(2)],
      [b, a, b].map((prompt) => embeddings.condition([prompt])),
    );
  });

  t.test('a cancel is heard between two runs', async (t) => {
    const { make, runs } = await observedMaker(bundle, { cacheBytes: 1 << 24, tokenBudget: 4 * tokens });
    const cancel = new AbortController();
    const embedding = make(somePrompts(bundle, 'x'), {
      signal: cancel.signal,
      turn: async () => {
        if (runs.length === 2) cancel.abort();
      },
      onProgress: () => {},
    });
    await t.rejects(embedding, { name: 'AbortError' });
    t.strictSame(runs, [4, 4]);
  });

  t.test('long prompts run slice by slice, and padded slices not at all', async (t) => {
    const sliced = slicedBundle(bundle);
    const half = tokens / 2;
    const { make, runs, encoder } = await observedMaker(sliced, { cacheBytes: 1 << 24, tokenBudget: 1e6 });
    const short = 'a short prompt';
    const long = 'a prompt of many words '.repeat(10);
    const embeddings = await make([short, long], quietly());
    t.strictSame(runs, [3], 'two slices of the long one, one of the short one');

    const tokenize = await openBundleTokenizer(bundle);
    const slicesOf = (prompt: string): Slice[] => {
      const { ids, length } = tokenize(prompt);
      return [
        { ids: ids.slice(0, half), length: Math.min(half, length) },
        { ids: ids.slice(half), length: Math.max(0, length - half) },
      ];
    };
    for (const prompt of [short, long]) {
      const expected = await encoder.encode(slicesOf(prompt));
      const condition = embeddings.condition([prompt]);
      t.strictSame(condition.slice(0, half * width), expected[0]);
      t.strictSame(condition.slice(half * width), expected[1]);
    }
    t.equal(slicesOf(short)[1]!.length, 0, 'the short one has a padded slice');
  });

  t.test('a graph that does not do what the bundle says of masked attention is refused', async (t) => {
    const open = (candidate: Bundle) => openEncoder(candidate, cpu, { tokenBudget: 1e6 });
    await t.rejects(open(slicedBundle(bundle, 'zero')), {
      code: 'bundle-unloadable',
      message:
        'encoder.onnx attends to masked tokens where every token is masked, but bundle.json says fullyMaskedAttention zero.',
    });
    const dynamic = variant(slicedBundle(bundle, 'zero'), ({ encoder }) => {
      encoder.maxBatch = 1;
    });
    await t.resolves(open(dynamic), 'where quantisation lets everything notice, nothing can be told');
    const toy = await withToyEncoder(t, bundle, {});
    await t.resolves(open(slicedBundle(toy, 'zero')));
    await t.rejects(open(slicedBundle(toy, 'uniform')), {
      code: 'bundle-unloadable',
      message: /attends to nothing/,
    });
    const dividing = await withToyEncoder(t, bundle, { divideByMask: true });
    await t.rejects(open(slicedBundle(dividing, 'zero')), {
      code: 'bundle-unloadable',
      message: /not finite/,
    });
    await t.resolves(open(dividing), 'where prompts are one slice, no mask is ever empty');
  });

  t.test('a graph whose numbers depend on the size of the run is given one size', async (t) => {
    const toy = await withToyEncoder(t, bundle, { batchShare: 0.5 });
    const encoder = await openEncoder(toy, cpu, { tokenBudget: 8 * tokens });
    t.ok(encoder.fixedShape);
    const tokenize = await openBundleTokenizer(bundle);
    const slices = somePrompts(bundle, 'x').slice(0, 8).map(tokenize);
    const together = await encoder.encode(slices);
    for (const [index, slice] of slices.entries()) {
      t.strictSame((await encoder.encode([slice]))[0], together[index]);
    }
  });

  t.test(
    'numbers of the encoder that are none are the encoder’s, and the prompt’s that has them',
    async (t) => {
      const tokenize = await openBundleTokenizer(bundle);
      const [, cat] = tokenize('cat').ids;
      const toy = await withToyEncoder(t, bundle, { nanFor: cat! });
      const encoder = await openEncoder(toy, cpu, { tokenBudget: 1e6 });
      t.equal((await encoder.encode([tokenize('dog')])).length, 1);
      await t.rejects(encoder.encode([tokenize('dog'), tokenize('cat')]), {
        code: 'prompts-unusable',
        message: 'encoder.onnx gives numbers that are not finite for one of the prompts.',
      });
    },
  );

  t.test('an encoder of another width is refused', async (t) => {
    const wider = variant(bundle, ({ condition }) => {
      condition.width = 64;
    });
    await t.rejects(openEncoder(wider, cpu, { tokenBudget: 1e6 }), {
      code: 'bundle-unloadable',
      message: 'encoder.onnx gives [1, 64, 128] instead of [1, 64, 64].',
    });
  });
});

function bytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

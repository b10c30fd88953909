import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { createByteLru } from '../../src/base/lru.ts';
import { createTokenCounter } from '../../src/inference/count-tokens.ts';
import { openEncoder } from '../../src/inference/encoder.ts';
import { createPooledConditionMaker, openPooledEncoder } from '../../src/inference/pooled-encoder.ts';
import { openTokenizer } from '../../src/inference/tokenizer.ts';
import { writeEncoder } from '../models/small-bundle.ts';
import { untrainedBundle, variant, withToyEncoder } from './bundles.ts';

const cpu = { provider: 'cpu', name: 'cpu', threads: 2 } as const;
const quietly = () => ({
  signal: new AbortController().signal,
  turn: async () => {},
  onProgress: () => {},
});

test('with the encoder of the untrained bundle', async (t) => {
  const bundle = await untrainedBundle(t);
  const { directory, manifest } = bundle;
  const { width } = manifest.condition;
  const { tokenize, largestId } = await openTokenizer(
    join(directory, manifest.tokenizer.file),
    manifest.condition,
  );
  const text = 'Answer questions about rivers, and say how long they are.';

  t.test('the condition is the first token’s hidden state, as padding would not change it', async (t) => {
    const encoder = await openPooledEncoder(bundle, cpu, { tokenBudget: 8192, largestId });
    const cache = createByteLru<Float32Array>(1 << 20);
    const make = createPooledConditionMaker({ bundle, encoder, tokenize, cache });
    const made = await make([text], quietly());
    t.strictSame(made.sources([text]), { cached: 0, encoded: 1 });
    const condition = made.condition([text]);
    t.equal(condition.length, width);
    const padded = await openEncoder(bundle, cpu, { tokenBudget: 64 });
    const [hidden] = await padded.encode([tokenize(text)]);
    const difference = Math.max(...condition.map((value, at) => Math.abs(value - hidden![at]!)));
    t.ok(difference < 1e-5, `${difference}`);
    const again = await make([text], quietly());
    t.strictSame(again.sources([text]), { cached: 1, encoded: 0 });
    t.strictSame(again.condition([text]), condition);
    const other = await make([`${text} Be brief.`], quietly());
    t.notSame(other.condition([`${text} Be brief.`]), condition);
    await Promise.all([encoder.close(), padded.close()]);
  });

  t.test('a text of more tokens than may be encoded at once is refused by its number', async (t) => {
    const encoder = await openPooledEncoder(bundle, cpu, { tokenBudget: 8 });
    const cache = createByteLru<Float32Array>(1 << 20);
    const make = createPooledConditionMaker({ bundle, encoder, tokenize, cache });
    const made = await make([text, 'Be brief'], quietly());
    t.throws(() => made.condition([text]), {
      code: 'prompts-unusable',
      message: /^The text has \d+ tokens; the service encodes at most 8 at once\.$/,
    });
    t.equal(
      made.condition(['Be brief']).length,
      width,
      'others of the batch, who may be others’, are served',
    );
    t.strictSame(made.sources(['Be brief']), { cached: 0, encoded: 1 });
    await encoder.close();
  });

  t.test('descriptions are read as in training: stripped, with a full stop after a letter', async (t) => {
    const encoder = await openPooledEncoder(bundle, cpu, { tokenBudget: 64 });
    const seen: string[] = [];
    const make = createPooledConditionMaker({
      bundle,
      encoder,
      tokenize(given) {
        seen.push(given);
        return tokenize(given);
      },
      cache: createByteLru<Float32Array>(1 << 20),
    });
    const made = await make([' Name a river', 'Name a river\n', 'Is it long?'], quietly());
    t.strictSame(seen, ['Name a river.', 'Name a river.', 'Is it long?']);
    t.strictSame(made.sources(['Name a river\n', ' Name a river']), { cached: 1, encoded: 1 });
    t.strictSame(made.condition(['Name a river\n']), made.condition([' Name a river']));
    const counter = createTokenCounter();
    const pooled = variant(bundle, ({ condition }) => {
      condition.pooling = 'first-token';
    });
    const [one, other] = (await counter(pooled, ['Name a river', 'Name a river.']))!;
    t.strictSame(one, other, 'and their tokens are counted as they are read');
    await encoder.close();
  });

  t.test('an encoder with fewer positions than its files tell takes what it has positions for', async (t) => {
    const positions = 37;
    const own = t.testdir({});
    await writeEncoder(own, width, positions);
    await copyFile(join(own, 'model.onnx'), join(own, 'encoder.onnx'));
    const short = { ...variant(bundle, () => {}), directory: own };
    const encoder = await openPooledEncoder(short, cpu, { tokenBudget: 512 });
    t.equal(encoder.mostTokens, positions);
    await encoder.close();
  });

  t.test('an encoder that does not run, or gives no numbers, is told when it is loaded', async (t) => {
    const nan = await withToyEncoder(t, bundle, { nanFor: 1 });
    await t.rejects(openPooledEncoder(nan, cpu, { tokenBudget: 64 }), {
      code: 'bundle-unloadable',
      message: /^encoder\.onnx does not take a text of 8 tokens \(.*not finite/,
    });
    const unknown = { tokenBudget: 64, largestId: 10 ** 6 };
    await t.rejects(openPooledEncoder(bundle, cpu, unknown), {
      code: 'bundle-unloadable',
      message: /up to the id 1000000/,
    });
    const narrow = variant(bundle, ({ condition }) => {
      condition.width = 64;
    });
    await t.rejects(openPooledEncoder(narrow, cpu, { tokenBudget: 64 }), { code: 'bundle-unloadable' });
  });
});

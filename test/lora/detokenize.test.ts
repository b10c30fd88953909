import { join } from 'node:path';
import { test } from 'tap';
import { openSafetensors } from '../../src/adapter/safetensors.ts';
import { findBase } from '../../src/lora/bases.ts';
import { detokenize } from '../../src/lora/detokenize.ts';
import { tokenizedTensors, tokenShape, tokensPerLayer } from '../../src/lora/tensors.ts';

const golden = join(import.meta.dirname, '..', 'golden');

/** Largest difference of any number, as it is and as a share of the largest number of the reference. */
function largestDifference(
  actual: Float32Array,
  expected: Float32Array,
): { absolute: number; relative: number } {
  let difference = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return { absolute: difference, relative: difference / scale };
}

/** Rounding of the reference itself: float32 leaves a deviation of 0.001 six digits (spec §3.4 subtracts 0.1 from 0.101). */
const FLOAT32_LIMIT = 1e-5;

for (const { alias, mode, precision, limit } of [
  { alias: 'qwen2.5-0.5b', mode: 'float32', precision: 'float32', limit: FLOAT32_LIMIT },
  { alias: 'qwen2.5-1.5b', mode: 'float32', precision: 'float32', limit: FLOAT32_LIMIT },
  { alias: 'qwen2.5-0.5b', mode: 'bf16', precision: 'bf16-official', limit: 0 },
] as const) {
  test(`${alias}: layer 0 as the published code makes it, ${mode}`, async (t) => {
    const { layout } = findBase(alias)!;
    await using file = await openSafetensors(join(golden, `tokens-${alias}-layer0.safetensors`));
    const tokens = await file.read('tokens');
    const cells = tokenShape(layout).reduce((a, b) => a * b);
    t.equal(tokens.length, tokensPerLayer(layout) * cells);
    for (const tensor of tokenizedTensors(layout).filter(({ layer }) => layer === 0)) {
      const { start, count } = tensor.tokens;
      const own = tokens.subarray(start * cells, (start + count) * cells);
      const actual = detokenize(own, tensor, layout, { precision });
      const { absolute, relative } = largestDifference(actual, await file.read(`${mode}.${tensor.name}`));
      t.ok(relative <= limit && absolute <= 2e-7, `${tensor.name}: ${relative} of the largest number`);
    }
  });
}

test('the official arithmetic is not the exact one', async (t) => {
  const { layout } = findBase('qwen2.5-0.5b')!;
  await using file = await openSafetensors(join(golden, 'tokens-qwen2.5-0.5b-layer0.safetensors'));
  const tensor = tokenizedTensors(layout).find(({ name }) =>
    name.includes('.layers.0.self_attn.q_proj.lora_B'),
  )!;
  const cells = tokenShape(layout).reduce((a, b) => a * b);
  const tokens = (await file.read('tokens')).subarray(
    tensor.tokens.start * cells,
    (tensor.tokens.start + tensor.tokens.count) * cells,
  );
  const exact = detokenize(tokens, tensor, layout);
  const official = detokenize(tokens, tensor, layout, { precision: 'bf16-official' });
  t.ok(largestDifference(official, exact).relative > 0.01);
  t.same(detokenize(tokens, tensor, layout, { precision: 'float32' }), exact, 'float32 is the default');
});

test('numbers of another length than the tensor’s are refused', (t) => {
  const { layout } = findBase('smollm2-135m')!;
  const [tensor] = tokenizedTensors(layout);
  t.throws(() => detokenize(new Float32Array(10 * 194), tensor!, layout), { code: 'layout-invalid' });
  t.end();
});

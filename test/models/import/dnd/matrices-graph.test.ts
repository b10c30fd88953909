import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { openSafetensors } from '../../../../src/adapter/safetensors.ts';
import { seededRandom } from '../../../../src/base/random.ts';
import { findBase, layoutForBase } from '../../../../src/lora/bases.ts';
import { detokenize } from '../../../../src/lora/detokenize.ts';
import type { TokenLayout } from '../../../../src/lora/layout.ts';
import { tokenCount, tokenizedTensors, tokenShape } from '../../../../src/lora/tensors.ts';
import { matricesGraphs } from '../../../../src/models/import/dnd/matrices-graph.ts';

const golden = join(import.meta.dirname, '..', '..', '..', 'golden');

/** Largest difference of any number, as a share of the largest number of the reference. */
function difference(actual: Float32Array, expected: Float32Array): number {
  let largest = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(actual[i]! - expected[i]!));
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return largest / scale;
}

/** What the graphs make of weight tokens, by the names of outputs. */
async function run(layout: TokenLayout, tokens: Float32Array): Promise<Map<string, Float32Array>> {
  const made = new Map<string, Float32Array>();
  for (const graph of matricesGraphs(layout).values()) {
    const session = await InferenceSession.create(graph, { logSeverityLevel: 3 });
    const input = new Tensor('float32', tokens, [1, tokenCount(layout), ...tokenShape(layout)]);
    for (const [name, tensor] of Object.entries(await session.run({ tokens: input }))) {
      made.set(name, tensor.data as Float32Array);
    }
    await session.release();
  }
  return made;
}

/** Tokens as decoders make them: chunks of unit spread, and scale cells that do not quite agree. */
function someTokens(layout: TokenLayout): Float32Array {
  const [height, width] = tokenShape(layout);
  const random = seededRandom(3);
  const unit = () => random.next() / 2 ** 32 + 0.5;
  const tokens = new Float32Array(tokenCount(layout) * height * width);
  for (let first = 0; first < tokens.length; first += height * width) {
    const mean = 0.01 * unit();
    const deviation = Math.log(0.9 * (0.0005 + 0.02 * unit()) + 0.1) + 1.6;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const isScale = row >= height - 2 || column >= width - 2;
        const cell = (column % 2 === 0 ? 8 * mean : deviation) + 1e-3 * unit();
        tokens[first + row * width + column] = isScale ? cell : 4 * unit() - 4;
      }
    }
  }
  return tokens;
}

for (const [name, layout] of [
  ['smollm2-135m', findBase('smollm2-135m')!.layout],
  [
    'a layout of one module',
    layoutForBase({ layers: 3, hidden: 16, kv: 8, ffn: 48, rank: 2, alpha: 4, targets: ['down_proj'] }),
  ],
  ['uneven widths', layoutForBase({ layers: 2, hidden: 24, query: 36, kv: 12, ffn: 60, rank: 6, alpha: 1 })],
] as const) {
  test(`${name}: the graphs make what the reference makes of the same tokens`, async (t) => {
    const tokens = someTokens(layout);
    const made = await run(layout, tokens);
    t.equal(made.size, 2 * layout.modules.length);
    const size = tokenShape(layout).reduce((a, b) => a * b);
    let worst = 0;
    for (const tensor of tokenizedTensors(layout)) {
      const { start, count } = tensor.tokens;
      const expected = detokenize(tokens.subarray(start * size, (start + count) * size), tensor, layout);
      const stack = made.get(`${tensor.module.path}.${tensor.side}`)!;
      const at = tensor.layer * expected.length;
      worst = Math.max(worst, difference(stack.subarray(at, at + expected.length), expected));
    }
    t.ok(worst <= 1e-6, `${worst} of a tensor's largest number`);
    t.equal(
      [...made.values()].reduce((sum, { length }) => sum + length, 0),
      tokenizedTensors(layout).reduce((sum, { shape }) => sum + shape[0] * shape[1], 0),
      'and nothing else',
    );
  });
}

for (const alias of ['qwen2.5-0.5b', 'qwen2.5-1.5b']) {
  test(`${alias}: layer 0 as the published code makes it`, async (t) => {
    const layout = { ...findBase(alias)!.layout, layers: 1 };
    await using file = await openSafetensors(join(golden, `tokens-${alias}-layer0.safetensors`));
    const made = await run(layout, await file.read('tokens'));
    for (const { name, module, side } of tokenizedTensors(layout)) {
      const relative = difference(made.get(`${module.path}.${side}`)!, await file.read(`float32.${name}`));
      // As of the reference (test/lora/detokenize.test.ts): float32 is what the published code rounds to.
      t.ok(relative <= 1e-5, `${name}: ${relative} of the largest number`);
    }
  });
}

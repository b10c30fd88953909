/** How far from memory speed is the reference that turns weight tokens into adapter bytes without a graph? */
import { writeSafetensors } from '../src/adapter/safetensors.ts';
import { DTYPES, type Dtype } from '../src/base/dtype.ts';
import { seededRandom } from '../src/base/random.ts';
import { findBase } from '../src/lora/bases.ts';
import { detokenize } from '../src/lora/detokenize.ts';
import type { TokenLayout } from '../src/lora/layout.ts';
import { tokenCount, tokenizedTensors, tokenShape } from '../src/lora/tensors.ts';
import { type Benchmark, median, spread } from './report.ts';

const RUNS = 7;

export const adapterWriting: Benchmark = {
  question:
    'detokenize + safetensors in memory, against a plain copy of the same output bytes (both timed in turn)',
  columns: ['base', 'dtype', 'output', 'detokenize + write', 'plain copy', 'copies’ worth of time'],
  async run() {
    const rows: string[][] = [];
    for (const alias of ['smollm2-135m', 'qwen2.5-0.5b', 'qwen2.5-7b']) {
      const { layout } = findBase(alias)!;
      const tokens = randomTokens(layout);
      for (const dtype of DTYPES) rows.push(await measure(alias, layout, tokens, dtype));
    }
    return rows;
  },
};

async function measure(
  alias: string,
  layout: TokenLayout,
  tokens: Float32Array,
  dtype: Dtype,
): Promise<string[]> {
  const writing: number[] = [];
  const copying: number[] = [];
  let bytes = 0;
  for (let run = 0; run <= RUNS; run++) {
    let startedAt = performance.now();
    const pieces: Uint8Array[] = [];
    for await (const piece of writeSafetensors(tokenizedTensors(layout), matrices(layout, tokens), { dtype }))
      pieces.push(piece);
    const writeMs = performance.now() - startedAt;
    const source = Buffer.concat(pieces);
    const target = Buffer.alloc(source.length, 1);
    startedAt = performance.now();
    target.set(source);
    const copyMs = performance.now() - startedAt;
    // The first run warms the just-in-time compiler up.
    if (run > 0) {
      writing.push(source.length / writeMs / 1e6);
      copying.push(source.length / copyMs / 1e6);
    }
    bytes = source.length;
  }
  return [
    alias,
    dtype,
    `${(bytes / 1e6).toFixed(1)} MB`,
    spread(writing, 'GB/s', 2),
    spread(copying, 'GB/s', 2),
    `${(median(copying) / median(writing)).toFixed(1)}×`,
  ];
}

function* matrices(layout: TokenLayout, tokens: Float32Array): Generator<Float32Array> {
  const [height, width] = tokenShape(layout);
  const size = height * width;
  for (const tensor of tokenizedTensors(layout)) {
    const { start, count } = tensor.tokens;
    yield detokenize(tokens.subarray(start * size, (start + count) * size), tensor, layout);
  }
}

function randomTokens(layout: TokenLayout): Float32Array {
  const [height, width] = tokenShape(layout);
  const random = seededRandom(1);
  return Float32Array.from({ length: tokenCount(layout) * height * width }, () => random.next() / 2 ** 31);
}

import { test } from 'tap';
import { layoutForBase } from '../../src/lora/bases.ts';
import { detokenize, type Precision } from '../../src/lora/detokenize.ts';
import { tokenizedTensors } from '../../src/lora/tensors.ts';
import { tokenize } from '../../src/lora/tokenize.ts';

const small = layoutForBase({ layers: 1, hidden: 64, kv: 32, ffn: 96, rank: 4, alpha: 8 });
const [A, B] = (['A', 'B'] as const).map(
  (side) =>
    tokenizedTensors(small).find((tensor) => tensor.side === side && tensor.module.path === 'mlp.up_proj')!,
);

/** Numbers without pattern, the same every run, around `mean` with about the standard deviation `spread`. */
function noise(length: number, mean: number, spread: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = (state * 48271) % 2147483647;
    return mean + (state / 2147483647 - 0.5) * Math.sqrt(12) * spread;
  });
}

test('tokenize and detokenize are each other’s inverse', (t) => {
  for (const tensor of [A!, B!]) {
    for (const [mean, spread] of [
      [0, 0.02],
      [0.01, 0.001],
      [-0.5, 2],
    ] as const) {
      const matrix = noise(tensor.shape[0] * tensor.shape[1], mean, spread);
      const tokens = tokenize(matrix, tensor, small);
      t.equal(tokens.length, tensor.tokens.count * 6 * 34);
      const back = detokenize(tokens, tensor, small);
      let worst = 0;
      for (let i = 0; i < matrix.length; i++) worst = Math.max(worst, Math.abs(back[i]! - matrix[i]!));
      t.ok(worst <= 1e-6 * Math.max(1, spread), `${tensor.side}, spread ${spread}: ${worst}`);
      const again = tokenize(back, tensor, small);
      t.ok(
        again.every((cell, index) => Math.abs(cell - tokens[index]!) < 1e-3),
        'the tokens come back too',
      );
    }
  }
  t.end();
});

test('a token holds its chunk standardised, and its scale in the last rows and columns', (t) => {
  const matrix = noise(4 * 64, 0.25, 0.5);
  const tokens = tokenize(matrix, A!, small);
  // Chunk 1 of A: columns 32…63 of the matrix [4, 64], as spec §3.3 writes it.
  const chunk = [0, 1, 2, 3].flatMap((row) => [...matrix.subarray(row * 64 + 32, row * 64 + 64)]);
  const mean = chunk.reduce((sum, value) => sum + value, 0) / chunk.length;
  const deviation = Math.sqrt(
    chunk.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (chunk.length - 1),
  );
  const token = tokens.subarray(6 * 34, 2 * 6 * 34);
  const cell = (row: number, column: number) => token[row * 34 + column]!;
  const near = (actual: number, expected: number, label: string) =>
    t.ok(Math.abs(actual - expected) < 1e-6, `${label}: ${actual} ≈ ${expected}`);
  near(cell(2, 7), (matrix[2 * 64 + 39]! - mean) / deviation, 'a cell');
  const scale = [mean * 8, Math.log(0.9 * deviation + 0.1) + 1.6];
  for (let column = 0; column < 34; column++) {
    for (const row of [4, 5]) near(cell(row, column), scale[column % 2]!, `row ${row}, column ${column}`);
  }
  for (let row = 0; row < 6; row++) {
    for (const column of [32, 33])
      near(cell(row, column), scale[column % 2]!, `row ${row}, column ${column}`);
  }
  t.end();
});

test('a chunk without spread has no standardised form', (t) => {
  const tokens = tokenize(new Float32Array(96 * 4).fill(0.1), B!, small);
  const token = tokens.subarray(0, 6 * 34);
  t.ok(Number.isNaN(token[0]!) && Number.isNaN(token[3 * 34 + 31]!), 'its cells are masked');
  t.equal(token[4 * 34], Math.fround(Math.fround(0.1) * 8), 'its mean is known');
  t.equal(token[4 * 34 + 1], Math.fround(Math.log(0.1) + 1.6), 'its deviation is 0');
  t.ok(detokenize(tokens, B!, small).every(Number.isNaN), 'and nothing comes back from it');
  t.end();
});

/** The table of spec §3.6: true deviation → what each pair of encoding and decoding makes of it. */
const QUANTISED: [number[], number, number, number][] = [
  [[0.0002, 0.0005, 0.001], 0.00081, 0.00054, 0.00054],
  [[0.0015, 0.002], 0.00257, 0.00217, 0.00217],
  [[0.003], 0.00436, 0.00433, 0.00217],
  [[0.005], 0.00436, 0.00433, 0.00433],
  [[0.008], 0.00803, 0.0076, 0.0076],
  [[0.0193], 0.01974, 0.01953, 0.01953],
];

test('scale cells in bfloat16 quantise small amplitudes as the paper’s do', (t) => {
  const pairs: [Precision, Precision][] = [
    ['bf16-official', 'float32'],
    ['bf16-official', 'bf16-official'],
    ['float32', 'bf16-official'],
  ];
  for (const [deviations, ...columns] of QUANTISED) {
    for (const deviation of deviations) {
      // Two values at equal distance from 0, so that the sample deviation is the wanted one and a cell is ±1.
      const n = 4 * 32;
      const side = deviation * Math.sqrt((n - 1) / n);
      const matrix = Float32Array.from({ length: 96 * 4 }, (_, index) => (index % 2 ? -side : side));
      pairs.forEach(([encoding, decoding], index) => {
        const tokens = tokenize(matrix, B!, small, { precision: encoding });
        // Cells of exactly ±1 show the deviation itself.
        for (let i = 0; i < tokens.length; i++) {
          if (i % 34 < 32 && i % (6 * 34) < 4 * 34) tokens[i] = Math.sign(tokens[i]!);
        }
        const seen = Math.abs(detokenize(tokens, B!, small, { precision: decoding })[0]!);
        t.equal(seen.toFixed(5), columns[index]!.toFixed(5), `${deviation}: ${encoding} → ${decoding}`);
      });
    }
  }
  t.end();
});

test('numbers of another length than the tensor’s are refused', (t) => {
  t.throws(() => tokenize(new Float32Array(7), A!, small), { code: 'layout-invalid' });
  t.end();
});

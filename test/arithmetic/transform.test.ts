import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { test } from 'tap';
import { parsePeftConfig } from '../../src/adapter/read-peft-config.ts';
import { safetensorsHeader } from '../../src/adapter/safetensors.ts';
import { parseSafetensorsHeader } from '../../src/adapter/safetensors-header.ts';
import type { TransformStep } from '../../src/arithmetic/steps.ts';
import { type TransformOptions, transformAdapters } from '../../src/arithmetic/transform.ts';
import { dense, difference, inMemory, layout, type MemoryAdapter, made, randomAdapter } from './adapters.ts';

const one = (adapter: MemoryAdapter) => [{ ...adapter, weight: 1 }];
const run = async (adapter: MemoryAdapter, steps: TransformStep[], options?: TransformOptions) => {
  const transformed = await transformAdapters(one(adapter), steps, options);
  return { ...transformed, adapter: await made(transformed) };
};
/** Rounding of a file's format, times a few for the two factors of a product. */
const TOLERANCE = { f32: 1e-6, f16: 4e-3, bf16: 3e-2 } as const;
const norm = (delta: Matrix) => delta.norm('frobenius');
/** The nearest matrix of a rank, by a dense SVD. */
function nearest(delta: Matrix, rank: number): Matrix {
  const svd = new SingularValueDecomposition(delta, { autoTranspose: true });
  const columns = Array.from({ length: rank }, (_, column) => column);
  const left = svd.leftSingularVectors.subMatrixColumn(columns).mulRowVector(svd.diagonal.slice(0, rank));
  return left.mmul(svd.rightSingularVectors.subMatrixColumn(columns).transpose());
}
const energy = (deltas: Iterable<Matrix>) => [...deltas].reduce((sum, delta) => sum + norm(delta) ** 2, 0);

for (const dtype of ['f32', 'f16', 'bf16'] as const) {
  test(`${dtype}: no step changes no bit`, async (t) => {
    const adapter = await randomAdapter(1, { dtype });
    const { adapter: after, report } = await run(adapter, []);
    t.ok(Buffer.from(after.bytes).equals(adapter.bytes));
    t.strictSame(parsePeftConfig(after.config), { ...parsePeftConfig(adapter.config), use_rslora: false });
    t.equal(report.dtype, dtype);
    t.equal(report.energyKept, 1);
  });

  test(`${dtype}: scaling is that of the dense matrix, and of a power of two exact`, async (t) => {
    const adapter = await randomAdapter(2, { dtype });
    const before = dense(adapter);
    const scaled = dense((await run(adapter, [{ type: 'scale', factor: 0.7 }])).adapter);
    const halved = dense((await run(adapter, [{ type: 'scale', factor: -0.5 }])).adapter);
    for (const [path, delta] of before) {
      t.ok(difference(Matrix.mul(delta, 0.7), scaled.get(path)!) < TOLERANCE[dtype], path);
      t.equal(difference(Matrix.mul(delta, -0.5), halved.get(path)!), 0, path);
    }
  });

  test(`${dtype}: a lower rank is the nearest one`, async (t) => {
    const adapter = await randomAdapter(3, { dtype });
    const before = dense(adapter);
    const { adapter: after, report } = await run(adapter, [{ type: 'rank', to: 2 }]);
    const cut = dense(after);
    t.equal(parsePeftConfig(after.config).r, 2);
    t.equal(parsePeftConfig(after.config).lora_alpha, 4, 'alpha / r stays');
    for (const [path, delta] of before) {
      t.ok(difference(nearest(delta, 2), cut.get(path)!) < TOLERANCE[dtype], path);
      t.ok(Math.abs(report.norms[path.slice(17)]! / norm(cut.get(path)!) - 1) < TOLERANCE[dtype], path);
    }
    const kept = energy([...before.values()].map((delta) => nearest(delta, 2))) / energy(before.values());
    t.ok(Math.abs(report.energyKept - kept) < 1e-9);
  });
}

test('a sum is that of the dense matrices, and of weights that are powers of two exact', async (t) => {
  const [p, q] = [
    await randomAdapter(4, { dtype: 'bf16' }),
    await randomAdapter(5, { dtype: 'bf16', rank: 6, alpha: 12 }),
  ];
  const transformed = await transformAdapters(
    [
      { ...p, weight: 0.5 },
      { ...q, weight: -2 },
    ],
    [],
  );
  const sum = dense(await made(transformed));
  t.equal(transformed.report.rank, 10);
  t.equal(transformed.report.alpha, 20);
  for (const [path, delta] of dense(p)) {
    const wanted = Matrix.add(Matrix.mul(delta, 0.5), Matrix.mul(dense(q).get(path)!, -2));
    t.ok(difference(wanted, sum.get(path)!) < 1e-14, path);
  }
});

test('a sum of equal adapters cut to their rank is the adapter', async (t) => {
  const adapter = await randomAdapter(6, { dtype: 'f32' });
  const source = { ...adapter, weight: 0.5 };
  const { report, ...transformed } = await transformAdapters(
    [source, source],
    [{ type: 'rank', to: layout.rank }],
  );
  const after = dense(await made({ report, ...transformed }));
  for (const [path, delta] of dense(adapter)) t.ok(difference(delta, after.get(path)!) < 1e-6, path);
  t.ok(Math.abs(report.energyKept - 1) < 1e-12);
});

test('a share of the energy keeps at least that, and one rank fewer would not', async (t) => {
  const adapter = await randomAdapter(7, { dtype: 'f32' });
  const before = energy(dense(adapter).values());
  for (const share of [0.3, 0.6, 0.9, 1]) {
    const { report } = await run(adapter, [{ type: 'rank', energy: share }]);
    t.ok(report.energyKept >= share - 1e-12, `${share} → rank ${report.rank}`);
    if (report.rank > 1) {
      const less = [...dense(adapter).values()].map((delta) => nearest(delta, report.rank - 1));
      t.ok(energy(less) / before < share);
    }
  }
});

test('the modules of largest norm stay, and the file has no others', async (t) => {
  const adapter = await randomAdapter(8);
  const before = dense(adapter);
  const { adapter: after, report } = await run(adapter, [{ type: 'modules', keep: 2 }]);
  const largest = [...before].sort(([, p], [, q]) => norm(q) - norm(p)).slice(0, 2);
  const left = dense(after);
  t.strictSame([...left.keys()].sort(), largest.map(([path]) => path).sort());
  for (const [path, delta] of left) t.equal(difference(before.get(path)!, delta), 0, path);
  t.strictSame(
    [...parsePeftConfig(after.config).target_modules].sort(),
    largest.map(([path]) => path.slice('base_model.model.'.length)).sort(),
  );
  t.equal(report.tensors, 4);
  t.ok(Math.abs(report.energyKept - energy(left.values()) / energy(before.values())) < 1e-12);
});

test('an adapter that lacks modules is added as one of zeros there', async (t) => {
  const [p, q] = [await randomAdapter(9), await randomAdapter(10)];
  const { adapter: few } = await run(q, [{ type: 'modules', keep: 1 }]);
  const sum = dense(
    await made(
      await transformAdapters(
        [
          { ...p, weight: 1 },
          { ...few, weight: 1 },
        ],
        [],
      ),
    ),
  );
  for (const [path, delta] of dense(p)) {
    const other = dense(few).get(path);
    t.ok(difference(other ? Matrix.add(delta, other) : delta, sum.get(path)!) < 1e-14, path);
  }
});

test('the strongest modules alone are scaled', async (t) => {
  const adapter = await randomAdapter(11);
  const before = dense(adapter);
  const after = dense((await run(adapter, [{ type: 'scale', factor: 2, top: 3 }])).adapter);
  const largest = new Set(
    [...before]
      .sort(([, p], [, q]) => norm(q) - norm(p))
      .slice(0, 3)
      .map(([path]) => path),
  );
  for (const [path, delta] of before) {
    t.equal(difference(Matrix.mul(delta, largest.has(path) ? 2 : 1), after.get(path)!), 0, path);
  }
});

test('steps follow each other', async (t) => {
  const adapter = await randomAdapter(12, { dtype: 'f32' });
  const { adapter: after, report } = await run(adapter, [
    { type: 'modules', keep: 5 },
    { type: 'scale', factor: 3, top: 2 },
    { type: 'rank', to: 3 },
    { type: 'modules', keep: 2 },
    { type: 'rank', energy: 0.9 },
  ]);
  let standing = [...dense(adapter)].sort(([, p], [, q]) => norm(q) - norm(p)).slice(0, 5);
  standing = standing.map(([path, delta], index) => [path, nearest(Matrix.mul(delta, index < 2 ? 3 : 1), 3)]);
  standing = standing.sort(([, p], [, q]) => norm(q) - norm(p)).slice(0, 2);
  const left = dense(after);
  t.strictSame([...left.keys()].sort(), standing.map(([path]) => path).sort());
  for (const [path, delta] of standing) {
    t.ok(difference(nearest(delta, report.rank), left.get(path)!) < 1e-6, path);
  }
});

test('a scale of rank-stabilised LoRA is read as such', async (t) => {
  const adapter = await randomAdapter(13, { dtype: 'f32', alpha: 6 });
  const config = JSON.parse(new TextDecoder().decode(adapter.config)) as object;
  const stabilised = { ...adapter, config: Buffer.from(JSON.stringify({ ...config, use_rslora: true })) };
  const { adapter: after } = await run(stabilised, [{ type: 'rank', to: 3 }]);
  for (const [path, delta] of dense(stabilised)) {
    t.ok(difference(nearest(delta, 3), dense(after).get(path)!) < 1e-6, path);
  }
  t.equal(parsePeftConfig(after.config).use_rslora, false);
});

test('an adapter of zeros stays one', async (t) => {
  const zero = await randomAdapter(14, { value: () => 0 });
  const { adapter: after } = await run(zero, [
    { type: 'rank', to: 2 },
    { type: 'scale', factor: 2 },
  ]);
  for (const delta of dense(after).values()) t.equal(norm(delta), 0);
});

test('what does not fit is refused', async (t) => {
  const adapter = await randomAdapter(15);
  const refused = (steps: TransformStep[], field: string) =>
    t.rejects(run(adapter, steps), { code: 'transform-unfit', fields: [{ pointer: `/transform/${field}` }] });
  await refused([{ type: 'rank', to: 5 }], '0/to');
  await refused([{ type: 'rank' }], '0/to');
  await refused([{ type: 'rank', to: 2, energy: 0.5 }], '0/energy');
  await refused(
    [
      { type: 'rank', to: 2 },
      { type: 'rank', to: 3 },
    ],
    '1/to',
  );
  await refused([{ type: 'modules', keep: 7 }], '0/keep');
  await refused(
    [
      { type: 'modules', keep: 3 },
      { type: 'scale', factor: 2, top: 4 },
    ],
    '1/top',
  );

  const other = await randomAdapter(16, { base: 'org/other' });
  await t.rejects(transformAdapters([...one(adapter), ...one(other)], []), {
    code: 'transform-unfit',
    message: /different bases, org\/base and org\/other/,
  });
  const wide = await randomAdapter(17, { rank: 200, alpha: 200 });
  await t.rejects(transformAdapters([...one(wide), ...one(wide)], []), {
    code: 'transform-unfit',
    message: /400/,
  });
  const zero = await randomAdapter(18, { value: () => 0 });
  await t.rejects(run(zero, [{ type: 'rank', energy: 0.5 }]), {
    code: 'transform-unfit',
    message: /is zero/,
  });
  await t.rejects(transformAdapters([], []), { code: 'transform-unfit' });
  const broken = { ...adapter, weightBytes: adapter.weightBytes - 2 };
  await t.rejects(run(broken, []), { code: 'safetensors-invalid' });
  const large = await randomAdapter(19, { dtype: 'f16' });
  await t.rejects(
    run(large, [
      { type: 'scale', factor: 16 },
      { type: 'scale', factor: 16 },
      { type: 'scale', factor: 16 },
      { type: 'scale', factor: 16 },
      { type: 'scale', factor: 16 },
    ]),
    {
      code: 'adapter-not-finite',
    },
  );
});

test('progress rises from nothing to all, and an abort ends it', async (t) => {
  const adapter = await randomAdapter(20);
  const shares: number[] = [];
  const transformed = await transformAdapters(one(adapter), [], {
    onProgress: (share) => shares.push(share),
  });
  await made(transformed);
  t.strictSame(
    shares,
    [...shares].sort((p, q) => p - q),
  );
  t.equal(shares.at(-1), 1);
  await t.rejects(run(adapter, [], { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
});

/** The same adapter with its tensors sorted by name, as earlier releases and other programs write them. */
function sortedByName(adapter: MemoryAdapter): MemoryAdapter {
  const { bytes, config } = adapter;
  const start = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const { tensors } = parseSafetensorsHeader(bytes.subarray(8, start), bytes.length - start);
  const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const header = safetensorsHeader(
    sorted.map(({ name, shape }) => ({ name, shape })),
    'bf16',
  ).bytes;
  const parts = sorted.map((tensor) => bytes.subarray(tensor.start, tensor.start + tensor.bytes));
  return inMemory(Buffer.concat([header, ...parts]), config);
}

test('adapters whose files have their tensors in different orders add up to the same', async (t) => {
  const [a, b] = [await randomAdapter(11), await randomAdapter(12)];
  const sum = async (...adapters: MemoryAdapter[]) => {
    const transformed = await transformAdapters(
      adapters.map((adapter, index) => ({ ...adapter, weight: index + 0.5 })),
      [],
    );
    return dense(await made(transformed));
  };
  const expected = await sum(a, b);
  for (const other of [await sum(sortedByName(a), b), await sum(a, sortedByName(b))]) {
    t.strictSame([...other.keys()].sort(), [...expected.keys()].sort());
    for (const [path, delta] of expected) t.equal(difference(delta, other.get(path)!), 0, path);
  }
  const [plain, sorted] = [sortedByName(a), await run(sortedByName(a), [])];
  t.ok(Buffer.from(sorted.adapter.bytes).equals(plain.bytes), 'and a file keeps the order that it has');
});

test('a file without one half of a pair is refused', async (t) => {
  const adapter = await randomAdapter(13);
  const { bytes, config } = adapter;
  const start = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const { tensors } = parseSafetensorsHeader(bytes.subarray(8, start), bytes.length - start);
  const some = tensors.slice(0, -1);
  const { bytes: header } = safetensorsHeader(
    some.map(({ name, shape }) => ({ name, shape })),
    'bf16',
  );
  const end = some.at(-1)!.start + some.at(-1)!.bytes;
  const halved = inMemory(Buffer.concat([header, bytes.subarray(start, end)]), config);
  await t.rejects(run(halved, []), { code: 'transform-unfit', message: /does not hold pairs/ });
});

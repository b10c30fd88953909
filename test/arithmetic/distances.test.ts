import { Matrix } from 'ml-matrix';
import { test } from 'tap';
import { spreadOfSamples } from '../../src/arithmetic/distances.ts';
import { transformAdapters } from '../../src/arithmetic/transform.ts';
import { dense, made, randomAdapter } from './adapters.ts';

test('distances from the mean are those of the dense matrices', async (t) => {
  const samples = await Promise.all([1, 2, 3, 4, 5].map((seed) => randomAdapter(seed)));
  const deltas = samples.map((sample) => [...dense(sample).values()]);
  const mean = deltas[0]!.map((_, module) =>
    deltas.reduce(
      (sum, own) => Matrix.add(sum, Matrix.mul(own[module]!, 1 / 5)),
      Matrix.mul(deltas[0]![module]!, 0),
    ),
  );
  const size = (matrices: Matrix[]) => Math.hypot(...matrices.map((matrix) => matrix.norm('frobenius')));
  const wanted = deltas.map(
    (own) => size(own.map((delta, module) => Matrix.sub(delta, mean[module]!))) / size(mean),
  );
  const { central, fromMean } = await spreadOfSamples(samples);
  for (const [index, share] of wanted.entries())
    t.ok(Math.abs(fromMean[index]! / share - 1) < 1e-9, `${index}`);
  t.equal(central, wanted.indexOf(Math.min(...wanted)));
});

test('the mean itself is the central one, and one sample is its own mean', async (t) => {
  const [p, q] = [await randomAdapter(6, { dtype: 'f32' }), await randomAdapter(7, { dtype: 'f32' })];
  const mean = await made(
    await transformAdapters(
      [
        { ...p, weight: 0.5 },
        { ...q, weight: 0.5 },
      ],
      [],
    ),
  );
  const { central, fromMean } = await spreadOfSamples([p, mean, q]);
  t.equal(central, 1);
  t.ok(fromMean[1]! < 1e-6);
  t.strictSame(await spreadOfSamples([p]), { central: 0, fromMean: [0] });
});

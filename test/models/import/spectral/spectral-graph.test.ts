import { test } from 'tap';
import { fillUniform, seededRandom } from '../../../../src/base/random.ts';
import { createGraphRunner } from '../../../../src/inference/graph-runner.ts';
import type { Convolution } from '../../../../src/models/import/dnd/convolutions.ts';
import { spectraShape, tileGroups, tilingsOf } from '../../../../src/models/import/spectral/candidates.ts';
import type { AxisTiling } from '../../../../src/models/import/spectral/spectral.ts';
import {
  emitSpectral,
  spectraGraph,
  spectralRows,
} from '../../../../src/models/import/spectral/spectral-graph.ts';
import type { SpectralForm } from '../../../../src/models/manifest.ts';
import { createGraphBuilder } from '../../../../src/onnx/graph-builder.ts';

const convolution: Convolution = {
  name: 'y',
  kernelName: 'kernel',
  kernel: 5,
  channel: 'C',
  inputs: 3,
  outputs: 4,
  axes: ['L', 'N'],
  lengths: [17, 12],
  firstIn: 1,
  firstOut: 0,
};
const runner = createGraphRunner({ threads: 1 });

function random(shape: readonly number[], seed: number) {
  const values = new Float32Array(shape.reduce((a, b) => a * b));
  fillUniform(seededRandom(seed), values, 1);
  return { values, shape };
}

async function convolve(form: SpectralForm, groups: readonly AxisTiling[]): Promise<Float32Array> {
  const transform = await runner(spectraGraph(convolution, form));
  const shape = spectraShape(convolution, form);
  const spectra = { values: new Float32Array(shape.reduce((a, b) => a * b)), shape };
  await transform.run({ kernels: random([4, 3, 25], 1) }, { ...spectra, shape: shape.slice(1) });
  await transform.close();
  const builder = createGraphBuilder('grouped');
  const x = builder.input('x', 'float32', [1, 12, 17, 3]);
  builder.input('spectra', 'float32', shape);
  const rows = spectralRows(convolution, form, groups);
  builder.input('rows', 'int64', [rows.length]);
  emitSpectral(builder, { convolution, form, x, spectra: ['spectra'], rows: 'rows', groups });
  builder.output('y', 'float32', [1, 17, 12, 4]);
  const graph = await runner(builder.encode());
  const y = { values: new Float32Array(17 * 12 * 4), shape: [1, 17, 12, 4] };
  await graph.run({ x: random([1, 12, 17, 3], 2), spectra, rows: { values: rows, shape: [rows.length] } }, y);
  await graph.close();
  return y.values;
}

for (const half of [0, 1] as const) {
  for (const products of [3, 4] as const) {
    test(`tiles in groups give what they give together: half axis ${half}, ${products} products`, async (t) => {
      const form: SpectralForm = { form: 'spectral', half, tiles: [5, 4], products, blockChannels: 4 };
      const { half: tiling } = tilingsOf(convolution, form);
      const together = await convolve(form, tileGroups(convolution, form));
      t.equal(tileGroups(convolution, form).length, 1, 'a small convolution is one group');
      const first = { ...tiling, tiles: 2 };
      const rest = { ...tiling, tiles: tiling.tiles - 2, start: tiling.start + 2 * tiling.outputs };
      const apart = await convolve(form, [first, rest]);
      const difference = together.reduce(
        (most, value, at) => Math.max(most, Math.abs(value - apart[at]!)),
        0,
      );
      t.ok(difference < 1e-5, `largest difference ${difference}`);
      t.ok(together.some((value) => Math.abs(value) > 1));
    });
  }
}

test('a large convolution is cut into groups that cover its tiles in order', (t) => {
  const large: Convolution = { ...convolution, inputs: 1000, outputs: 500, lengths: [384, 300] };
  const form: SpectralForm = { form: 'spectral', half: 0, tiles: [96, 30], products: 4, blockChannels: 100 };
  const { half } = tilingsOf(large, form);
  const groups = tileGroups(large, form);
  t.ok(groups.length > 1);
  let tiles = 0;
  for (const group of groups) {
    t.equal(group.start, half.start + tiles * half.outputs);
    tiles += group.tiles;
  }
  t.equal(tiles, half.tiles);
  t.end();
});

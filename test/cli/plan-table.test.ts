import { test } from 'tap';
import { planSummary, planTable, tuningReport } from '../../src/cli/plan-table.ts';
import type { ConvolutionForm, DndFacts, PlannedConvolution } from '../../src/models/manifest.ts';

const direct: ConvolutionForm = { form: 'direct' };
const spectral: ConvolutionForm = {
  form: 'spectral',
  half: 1,
  tiles: [5, 16],
  products: 4,
  blockChannels: 256,
};

const plan: PlannedConvolution[] = [
  { name: 'layer0.conv1w', form: direct, multiplyAdds: 100, weightBytes: 2048 },
  {
    name: 'layer0.linear2',
    form: spectral,
    multiplyAdds: 300,
    weightBytes: 198 << 20,
    error: 0.000_000_21,
  },
];

const summary = (changes: Partial<DndFacts>) => planSummary({ plan, ...changes }, { multiplyAdds: 4000 });

test('a plan in a line says how much is spectral, what it saves and what decided', (t) => {
  t.equal(
    summary({}),
    '1 of 2 convolutions through spectra, 10.0 times fewer multiply-adds, chosen by a model of their costs',
  );
  t.match(summary({ tuned: true }), /chosen by times taken at import$/);
  t.equal(summary({ plan: plan.slice(0, 1) }), 'every convolution direct');
  t.end();
});

test('a plan as a table has a row a convolution', (t) => {
  t.equal(
    planTable(plan),
    [
      'convolution     form      tiles  products  kernel     error',
      'layer0.conv1w   direct                     2.0 KiB',
      'layer0.linear2  spectral  5×16   4         198.0 MiB  2.1e-7',
    ].join('\n'),
  );
  t.end();
});

test('tuning is told in sums, and convolution by convolution where it changed something', (t) => {
  const sums = { modelledSeconds: 8.04, untunedSeconds: 7.5, tunedSeconds: 0.8123 };
  const line = 'tuned: 0.812 s of convolutions a decode as timed here; untuned 7.5 s, by the model 8.0 s';
  t.strictSame(tuningReport({ ...sums, changes: [] }, 0.05), [line, 'nothing changed']);
  t.match(
    tuningReport({ ...sums, changes: [] }, 0.254).at(-1),
    /^! Other processes took 25 % of the processors/,
  );
  const change = {
    name: 'layer0.linear2',
    from: { form: direct, seconds: 2 },
    to: { form: spectral, seconds: 0.25 },
  };
  t.strictSame(tuningReport({ ...sums, changes: [change] }, 0), [
    line,
    [
      'changed         untuned  s    tuned                   s',
      'layer0.linear2  direct   2.0  5×16 tiles, 4 products  0.250',
    ].join('\n'),
  ]);
  t.end();
});

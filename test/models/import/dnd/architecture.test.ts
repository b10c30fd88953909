import { test } from 'tap';
import type { StateDictEntry } from '../../../../src/models/import/checkpoint/state-dict.ts';
import {
  type DecoderArchitecture,
  decoderWeights,
  inferArchitecture,
  layerMultiplyAdds,
  layerParameters,
  projectionMultiplyAdds,
  projectionParameters,
} from '../../../../src/models/import/dnd/architecture.ts';

const chain = (text: string) =>
  text
    .slice(1, -1)
    .split(')(')
    .map((part) => part.split(',').map(Number) as [number, number, number]);
const overLayers = (
  architecture: DecoderArchitecture,
  count: (architecture: DecoderArchitecture, index: number) => number,
) => architecture.features.slice(1).reduce((sum, _, index) => sum + count(architecture, index), 0);
const entriesOf = (architecture: DecoderArchitecture): StateDictEntry[] =>
  decoderWeights(architecture).map(({ source, shape }) => ({ name: source, shape, dtype: 'F32' }));

// Spec §4: kernel, Lt of the length projection, features, parameters (+ projection), multiply-adds (+ projection in 10⁸).
const common =
  '(128,384,384)(128,200,300)(128,100,256)(256,50,200)(512,50,200)(1024,25,200)(1024,10,200)(2048,10,200)(4296,10,130)';
const math7b = '(16,1000,384)(64,500,384)(256,125,400)(512,64,400)(1024,64,400)(2048,32,400)(4928,18,514)';
const math15b = '(32,1000,384)(64,500,300)(256,500,300)(512,125,300)(1024,64,256)(2048,32,256)(4508,18,258)';
const coding15b = '(16,1000,384)(64,500,300)(256,125,300)(512,64,300)(1024,64,256)(2048,32,256)(4508,18,258)';
const vision3b = '(16,1536,384)(64,500,300)(256,125,300)(1024,64,300)(2048,16,256)(7308,18,258)';
const published: [string, number, number, string, number, number, number, number][] = [
  ['common sense 0.5B', 9, 0, common, 1_113_203_220, 0, 4_128_968_908_800, 0],
  ['math 1.5B', 11, 4608, math15b, 1_775_333_308, 5_610_000, 18_967_185_661_952, 689],
  ['coding 1.5B', 11, 26_624, coding15b, 1_715_308_236, 27_626_000, 13_653_006_664_704, 1697],
  ['math 7B', 11, 4608, math7b, 1_936_520_220, 5_610_000, 26_384_903_311_360, 345],
  ['coding 7B', 11, 26_624, math7b, 1_936_520_220, 27_626_000, 26_384_903_311_360, 1697],
  ['multimodal 3B', 11, 0, vision3b, 2_409_631_548, 0, 14_449_171_393_536, 0],
];

test('parameters and multiply-adds are those of the published configurations, and shapes give the architecture back', (t) => {
  for (const [
    name,
    kernel,
    tokens,
    features,
    parameters,
    extra,
    multiplyAdds,
    extraMultiplyAdds,
  ] of published) {
    const architecture: DecoderArchitecture = {
      kernel,
      features: chain(features),
      projection: tokens ? { tokens, positions: 1000 } : undefined,
    };
    t.equal(overLayers(architecture, layerParameters), parameters, `${name}: parameters`);
    t.equal(projectionParameters(architecture), extra, `${name}: parameters of the projection`);
    t.equal(overLayers(architecture, layerMultiplyAdds), multiplyAdds, `${name}: multiply-adds`);
    t.equal(Math.round(projectionMultiplyAdds(architecture) / 1e8), extraMultiplyAdds, `${name}: projection`);
    const elements = decoderWeights(architecture).reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b),
      0,
    );
    t.equal(elements, parameters + extra, `${name}: the list of weights has as many elements`);
    t.same(inferArchitecture(entriesOf(architecture)).architecture, architecture, `${name}: inferred`);
  }
  t.end();
});

const small: DecoderArchitecture = {
  kernel: 3,
  features: chain('(4,9,5)(7,6,8)(10,4,6)'),
  projection: { tokens: 24, positions: 9 },
};

test('wrappers are stripped and parts of training ignored', (t) => {
  const wrapped = entriesOf(small).map((entry, index) => ({
    ...entry,
    name: ['', 'module.', '_orig_mod.', 'module._orig_mod.'][index % 4] + entry.name,
  }));
  const training = [
    'criterion_weight',
    'condition_module.encoder.weight',
    'extra_condition.x',
    'module.criterion_weight',
  ];
  const { architecture, names } = inferArchitecture([
    ...wrapped,
    ...training.map((name) => ({ name, shape: [1], dtype: 'I64' })),
  ]);
  t.same(architecture, small);
  t.same([...names.values()].sort(), wrapped.map(({ name }) => name).sort());
  t.equal(names.get('down_proj.bias'), 'module.down_proj.bias');
  t.end();
});

test('a state dict that does not add up is refused, naming the tensor', (t) => {
  const layer = (index: number, name: string) => `model.decoder.module_list.${index}.${name}`;
  const reshaped = (name: string, shape: number[]) =>
    entriesOf(small).map((entry) => (entry.name === name ? { ...entry, shape } : entry));
  const without = (name: string) => entriesOf(small).filter((entry) => entry.name !== name);
  const withExtra = (name: string) => [...entriesOf(small), { name, shape: [1], dtype: 'F32' }];
  const table: [string, StateDictEntry[], RegExp][] = [
    ['nothing', [], /no tensor of a decoder layer/],
    [
      'a missing kernel',
      without(layer(1, 'linear1.conv2w.weight')),
      /list\.1\.linear1\.conv2w\.weight is missing/,
    ],
    ['a missing norm', without(layer(0, 'linear1.norm.weight')), /list\.0\.linear1\.norm\.weight is missing/],
    ['half a projection', without('gate_proj.bias'), /gate_proj\.bias is missing/],
    ['no first half of the projection', without('down_proj.weight'), /unexpected tensors.*down_proj\.bias/],
    ['an unexpected name', withExtra(layer(1, 'linear3.weight')), /1 unexpected tensors: .*linear3\.weight/],
    ['a foreign name', withExtra('lm_head.weight'), /unexpected tensors: lm_head\.weight/],
    ['a name twice', withExtra('module.down_proj.bias'), /down_proj\.bias is there twice/],
    ['a gap in the layers', withExtra(layer(3, 'linear2.bias')), /layer 2 is missing/],
    [
      'sixty-four layers',
      [...Array(64).keys()].map((i) => ({ name: layer(i, 'x'), shape: [1], dtype: 'F32' })),
      /more than 63/,
    ],
    [
      'a broken chain in N',
      reshaped(layer(1, 'linear2.weight'), [10, 8, 3, 3]),
      /chain breaks at layer 1.*\(8, 6, 8\).*\(7, 6, 8\)/,
    ],
    ['a broken chain in L', reshaped(layer(1, 'linear1.norm.weight'), [5, 8]), /chain breaks at layer 1/],
    [
      'a bias of another shape',
      reshaped(layer(0, 'linear2.bias'), [6]),
      /linear2\.bias is \[6\], \[7\] expected/,
    ],
    [
      'a kernel of another size',
      reshaped(layer(0, 'linear1.conv1h.weight'), [6, 9, 5, 5]),
      /conv1h\.weight is \[6, 9, 5, 5\]/,
    ],
    ['an even kernel', reshaped(layer(0, 'linear2.weight'), [7, 4, 4, 4]), /must be odd/],
    ['a huge kernel', reshaped(layer(0, 'linear2.weight'), [7, 4, 65, 65]), /at most 63/],
    ['a flat kernel', reshaped(layer(0, 'linear2.weight'), [7, 36]), /has 2 axes, 4 expected/],
    [
      'a projection that does not meet',
      reshaped('down_proj.weight', [8, 24]),
      /gives 8 positions, .* takes 9/,
    ],
    ['an axis of nothing', entriesOf({ ...small, features: chain('(4,9,5)(7,6,8)(0,4,6)') }), /no elements/],
    [
      'a weight beyond reason',
      entriesOf({ ...small, features: chain('(4,9,5)(7,6,8)(99999999999,4,6)') }),
      /no elements, or more/,
    ],
    ['integers', entriesOf(small).map((entry) => ({ ...entry, dtype: 'I8' })), /holds I8/],
  ];
  for (const [what, entries, message] of table) {
    t.throws(() => inferArchitecture(entries), { code: 'checkpoint-invalid', message }, what);
  }
  t.end();
});

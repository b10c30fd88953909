import { test } from 'tap';
import {
  layerMultiplyAdds,
  layerParameters,
  projectionMultiplyAdds,
  projectionParameters,
} from '../../../../src/models/import/dnd/architecture.ts';
import { PRESETS, presetArchitecture } from '../../../../src/models/import/dnd/presets.ts';

/** Parameters and multiply-adds of the decoder, then of the length projection, as published (spec §4). */
const PUBLISHED: Record<string, readonly [number, number, number, number]> = {
  'common-sense-0.5b': [1_113_203_220, 4_128_968_908_800, 0, 0],
  'math-1.5b': [1_775_333_308, 18_967_185_661_952, 5_610_000, 68_911_104_000],
  'coding-1.5b': [1_715_308_236, 13_653_006_664_704, 27_626_000, 169_721_856_000],
  'math-7b': [1_936_520_220, 26_384_903_311_360, 5_610_000, 34_455_552_000],
  'coding-7b': [1_936_520_220, 26_384_903_311_360, 27_626_000, 169_721_856_000],
  'multimodal-3b': [2_409_631_548, 14_449_171_393_536, 0, 0],
};

/** Of the ablations the note gives the parameters, and the multiply-adds to a thousandth of a tera. */
const ABLATIONS: Record<string, readonly [number, number]> = {
  '256-prompts-0.5b': [1_118_511_764, 5.998],
  '512-prompts-0.5b': [1_137_091_476, 10.214],
  'glove-0.5b': [990_759_804, 2.239],
  't5-0.5b': [1_062_683_212, 6.51],
  'qwen-encoder-0.5b': [2_015_990_782, 14.795],
  'math-answers-1.5b': [1_775_333_308, 18.967],
};

function countsOf(name: string) {
  const architecture = presetArchitecture(PRESETS.find((preset) => preset.name === name)!);
  const layers = architecture.features.slice(1).map((_, index) => index);
  const sum = (count: typeof layerParameters) =>
    layers.reduce((total, index) => total + count(architecture, index), 0);
  return {
    parameters: sum(layerParameters),
    multiplyAdds: sum(layerMultiplyAdds),
    projection: [projectionParameters(architecture), projectionMultiplyAdds(architecture)],
  };
}

test('every published size has the parameters and the arithmetic of the paper’s', (t) => {
  for (const [name, [parameters, multiplyAdds, ...projection]] of Object.entries(PUBLISHED)) {
    t.strictSame(countsOf(name), { parameters, multiplyAdds, projection }, name);
  }
  for (const [name, [parameters, tera]] of Object.entries(ABLATIONS)) {
    const counts = countsOf(name);
    t.equal(counts.parameters, parameters, name);
    t.equal(Number((counts.multiplyAdds / 1e12).toFixed(3)), tera, name);
  }
  t.equal(countsOf('math-answers-1.5b').projection[0], 7_146_000);
  t.same(
    PRESETS.map(({ name }) => name),
    [...Object.keys(PUBLISHED), ...Object.keys(ABLATIONS), 'two-minute', 'small'],
  );
  t.end();
});

test('the size for benchmarks is a tenth of the smallest published one, with the same end', (t) => {
  const [small, large] = ['two-minute', 'common-sense-0.5b'].map(countsOf);
  const share = small!.multiplyAdds / large!.multiplyAdds;
  t.ok(share > 0.09 && share < 0.11, `${share}`);
  const ends = ['two-minute', 'common-sense-0.5b'].map((name) =>
    presetArchitecture(PRESETS.find((preset) => preset.name === name)!).features.at(-1),
  );
  t.strictSame(ends[0], ends[1]);
  t.end();
});

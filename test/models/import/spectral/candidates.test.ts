import { test } from 'tap';
import { allConvolutions, type Convolution } from '../../../../src/models/import/dnd/convolutions.ts';
import { PRESETS, presetArchitecture } from '../../../../src/models/import/dnd/presets.ts';
import {
  type Candidate,
  candidates,
  directCandidate,
  everyCandidate,
  spectralCandidate,
  spectraShape,
  TYPICAL_SPEED,
  worthwhile,
} from '../../../../src/models/import/spectral/candidates.ts';
import type { SpectralForm } from '../../../../src/models/manifest.ts';

const published = PRESETS.filter(({ name }) => ['common-sense-0.5b', 'math-1.5b'].includes(name)).flatMap(
  (preset) => allConvolutions(presetArchitecture(preset)).map((one) => ({ preset, one })),
);

const CONVOLUTION: Convolution = {
  name: 'layer0.conv1w',
  kernelName: 'layer0.linear1.conv1w.weight',
  kernel: 3,
  channel: 'C',
  inputs: 2,
  outputs: 3,
  axes: ['L', 'N'],
  lengths: [4, 4],
  firstIn: 1,
  firstOut: 0,
};

const isDirect = ({ form }: Candidate) => form.form === 'direct';
const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b);

test('what is offered is worth its memory, and nothing worth it is left out', (t) => {
  for (const { preset, one } of published) {
    const all = everyCandidate(one);
    const offered = candidates(one);
    const direct = directCandidate(one);
    const named = `${preset.name} ${one.name}`;
    t.same(offered[0], direct, `${named}: direct convolution is the smallest of ${offered.length}`);
    const isBetter = (a: Candidate, b: Candidate) =>
      a.weightBytes <= b.weightBytes &&
      a.seconds <= b.seconds &&
      (a.weightBytes < b.weightBytes || a.seconds < b.seconds);
    const worthy = all.filter((each) => isDirect(each) || each.seconds * 1.25 < direct.seconds);
    for (const each of offered) {
      if (worthy.some((other) => isBetter(other, each))) t.fail(`${named}: one is beaten`);
    }
    for (const each of worthy) {
      const isMatched = offered.some(
        ({ weightBytes, seconds }) => weightBytes <= each.weightBytes && seconds <= each.seconds,
      );
      if (!isMatched) t.fail(`${named}: one is missing`);
    }
  }
  t.end();
});

test('large kernels are offered through spectra many times faster, tiny ones only directly', (t) => {
  const large = published.find(({ one }) => one.name === 'layer0.conv1w')!.one;
  const [direct, ...spectral] = candidates(large) as [Candidate, ...Candidate[]];
  t.ok(spectral.at(-1)!.seconds * 5 < direct.seconds);
  t.strictSame(candidates(CONVOLUTION).map(isDirect), [true]);
  const slowProducts = { ...TYPICAL_SPEED, productMacs: TYPICAL_SPEED.directMacs / 100 };
  t.strictSame(candidates(large, slowProducts).map(isDirect), [true], 'the speed of a machine decides');
  t.end();
});

test('worthwhile takes the seconds as they are, whatever the model said', (t) => {
  const every = everyCandidate(CONVOLUTION);
  const quick = every.map((one) => (isDirect(one) ? { ...one, seconds: 1 } : one));
  t.ok(worthwhile(quick).length > 1);
  t.ok(isDirect(worthwhile(quick)[0]!));
  t.strictSame(worthwhile(every).map(isDirect), [true]);
  t.end();
});

test('bytes are those of the stored spectra, and no block of them is above the limit', (t) => {
  for (const { one } of published) {
    for (const [precision, width] of [
      ['f32', 4],
      ['f16', 2],
    ] as const) {
      for (const { form, weightBytes } of candidates(one, TYPICAL_SPEED, precision)) {
        if (form.form === 'direct') {
          t.equal(weightBytes, width * one.inputs * one.outputs * one.kernel ** 2);
          continue;
        }
        const shape = spectraShape(one, form);
        const [blocks, , , channels] = shape;
        const blockBytes = (4 * product(shape)) / blocks;
        const isSound =
          weightBytes === width * product(shape) &&
          blockBytes <= 192 << 20 &&
          (blocks === 1 ? channels === one.outputs : channels % 16 === 0) &&
          (blocks - 1) * channels < one.outputs &&
          blocks * channels >= one.outputs;
        if (!isSound) t.fail(`${one.name} ${JSON.stringify(form)}: ${shape} of ${one.outputs}`);
      }
    }
  }
  t.end();
});

test('multiply-adds are those of the products and of the four transforms', (t) => {
  const formWith = (products: 3 | 4): SpectralForm => ({
    form: 'spectral',
    half: 0,
    tiles: [1, 1],
    products,
    blockChannels: 3,
  });
  // Five points along each axis, three frequencies of the half one. In order: to the half axis' spectrum, to the full one's,
  // the product, and back.
  const four = 6 * 5 * (5 * 2) + 3 * 20 * 10 * 2 + 15 * 2 * 4 * 3 + 3 * 8 * 10 * 3 + 4 * 6 * (4 * 3);
  t.equal(spectralCandidate(CONVOLUTION, formWith(4)).multiplyAdds, four);
  const three = 6 * 5 * (5 * 2) + 3 * 15 * 10 * 2 + 15 * 3 * 2 * 3 + 3 * 8 * 15 * 3 + 4 * 6 * (4 * 3);
  t.equal(spectralCandidate(CONVOLUTION, formWith(3)).multiplyAdds, three);
  t.equal(directCandidate(CONVOLUTION).multiplyAdds, 2 * 3 * 16 * 9);
  t.end();
});

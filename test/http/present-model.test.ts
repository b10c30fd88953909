import { test } from 'tap';
import { Compile } from 'typebox/compile';
import { presentModel } from '../../src/http/present-model.ts';
import { Model } from '../../src/http/schemas.ts';
import { SAMPLE_EVALUATION } from '../models/sample-evaluation.ts';
import { importSmallBundle } from '../models/small-bundle.ts';

test('clients see whether a model is trained, and what was measured of it', async (t) => {
  const { bundle: measured } = await importSmallBundle(t.testdir(), undefined, {
    trained: true,
    evaluation: SAMPLE_EVALUATION,
    card: '# A card\n',
  });
  const { evaluation, ...manifest } = { ...measured.manifest, trained: false };
  t.same(evaluation, SAMPLE_EVALUATION);
  const models = { default: () => measured };
  const shown = presentModel(measured, { models });
  t.strictSame(shown.licence, { text: 'Apache-2.0', commercialUse: true });
  t.match(shown, { trained: true, default: true, notice: undefined, evaluation: SAMPLE_EVALUATION });
  const random = presentModel({ ...measured, manifest }, { models });
  t.match(random, { trained: false, default: false, notice: /untrained/, evaluation: undefined });
  const validator = Compile(Model);
  for (const model of [shown, random]) t.strictSame([...validator.Errors(model)], []);
});

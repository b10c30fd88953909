import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { verifyAdapter } from '../../src/adapter/verify.ts';
import { runCli } from '../../src/cli/program.ts';
import { openBundle } from '../../src/models/open.ts';
import { SHIPPED_BUNDLE } from '../../src/models/shipped.ts';

/** What a clone, an image and a test run may be asked to carry. */
const MAX_BYTES = 32 * 2 ** 20;

test('the shipped bundle is whole, small, trained, measured and described', async (t) => {
  const { manifest } = await openBundle(SHIPPED_BUNDLE);
  const names = await readdir(SHIPPED_BUNDLE);
  t.same(names.sort(), ['bundle.json', ...manifest.files.map(({ name }) => name)].sort(), 'nothing besides');
  let bytes = 0;
  for (const name of names) bytes += (await stat(join(SHIPPED_BUNDLE, name))).size;
  t.ok(bytes <= MAX_BYTES, `${bytes} bytes`);
  t.equal(manifest.trained, true);
  t.not(manifest.licence.text, 'not stated at import');
  t.equal(manifest.licence.commercialUse, false, 'some of its training data forbid it');
  t.ok(manifest.provenance.length > 1, 'it says where weights and encoder come from');
  const subjects = manifest.evaluation?.rows.map(({ subject }) => subject) ?? [];
  for (const subject of [
    'base',
    'base-held-to-choices',
    'uniform-guess',
    'generated',
    'own-adapter',
    'control-same-form',
    'control-other-form',
  ] as const) {
    t.ok(subjects.includes(subject), `there are figures of ${subject}`);
  }
  const card = await readFile(join(SHIPPED_BUNDLE, manifest.card?.file ?? 'MODEL_CARD.md'), 'utf8');
  t.match(card, /^# .*\n\n\*\*No commercial use/, 'the first lines of the card say so');
});

test('generate takes the shipped bundle where none is named', async (t) => {
  const { manifest } = await openBundle(SHIPPED_BUNDLE);
  const prompts = join(import.meta.dirname, '..', '..', 'examples', 'yes-no-prompts.jsonl');
  const out = join(t.testdir({}), 'adapter');
  const output = { line() {}, note() {}, progress: () => ({ update() {}, stop() {} }) };
  const argv = ['generate', '--prompts', prompts, '--out', out, '--seed', '1'];
  t.equal(await runCli([process.execPath, 'loradrop', ...argv], output), 0);
  const { tensors } = await verifyAdapter(out, manifest.layout, { finite: true });
  t.equal(tensors, 2 * manifest.layout.layers * manifest.layout.modules.length);
});

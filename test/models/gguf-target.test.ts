import { test } from 'tap';
import type { Bundle } from '../../src/models/bundle.ts';
import { targetOfAdapter, targetOfBase } from '../../src/models/gguf-target.ts';
import type { BundleManifest } from '../../src/models/manifest.ts';

const HEADS = { heads: 4, kvHeads: 2 };
const SMOLLM2 = 'HuggingFaceTB/SmolLM2-135M-Instruct';

/** A registry of bundles for these bases. */
const modelsFor = (...bases: BundleManifest['base'][]) => ({
  list: () => bases.map((base) => ({ manifest: { base } }) as Bundle),
});

test('a bundle’s own word on the heads goes before what is known of its base', (t) => {
  t.same(targetOfBase({ id: 'x', architecture: 'llama' }), { architecture: 'llama' });
  t.same(targetOfBase({ id: 'x', architecture: 'llama', heads: HEADS }), {
    architecture: 'llama',
    heads: HEADS,
  });
  t.same(targetOfBase({ id: SMOLLM2, architecture: 'llama' }), {
    architecture: 'llama',
    heads: { heads: 9, kvHeads: 3 },
  });
  t.same(targetOfBase({ id: SMOLLM2, architecture: 'llama', heads: HEADS }).heads, HEADS);
  t.end();
});

test('what an adapter does not say is asked of bundles for its base, then of the known bases', (t) => {
  const told = { baseModel: 'x', architecture: 'mistral', heads: HEADS };
  t.same(targetOfAdapter(told, modelsFor()), { architecture: 'mistral', heads: HEADS });
  const models = modelsFor(
    { id: 'y', architecture: 'qwen2' },
    { id: 'x', architecture: 'llama' },
    { id: 'x', architecture: 'llama', heads: HEADS },
  );
  t.same(targetOfAdapter({ baseModel: 'x' }, models), { architecture: 'llama', heads: HEADS });
  t.same(targetOfAdapter({ baseModel: 'y' }, models), { architecture: 'qwen2' });
  t.same(targetOfAdapter({ baseModel: SMOLLM2 }, models), {
    architecture: 'llama',
    heads: { heads: 9, kvHeads: 3 },
  });
  t.throws(() => targetOfAdapter({ baseModel: 'z' }, models), {
    code: 'gguf-unsupported',
    message: /base z/,
  });
  t.end();
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import {
  checkLayout,
  findBase,
  findHeadErrors,
  KNOWN_BASES,
  layerPathOf,
  layoutForBase,
  TARGET_MODULES,
  withCurrentLayerPath,
} from '../../src/lora/bases.ts';
import type { LoraLayout } from '../../src/lora/layout.ts';
import { loraTensors, tokenCount, tokenShape, tokensPerLayer } from '../../src/lora/tensors.ts';

/** Spec §3.1, the untrained bundle's base, and those of Text-to-LoRA. */
const EXPECTED = [
  {
    alias: 'qwen2.5-0.5b',
    chunk: 128,
    shape: [10, 130],
    perLayer: 179,
    tokens: 4296,
    tensors: 336,
    parameters: 4_399_104,
  },
  {
    alias: 'qwen2.5-1.5b',
    chunk: 256,
    shape: [18, 258],
    perLayer: 161,
    tokens: 4508,
    tensors: 392,
    parameters: 18_464_768,
  },
  {
    alias: 'qwen2.5-vl-3b',
    chunk: 256,
    shape: [18, 258],
    perLayer: 203,
    tokens: 7308,
    tensors: 504,
    parameters: 29_933_568,
  },
  {
    alias: 'qwen2.5-7b',
    chunk: 512,
    shape: [18, 514],
    perLayer: 176,
    tokens: 4928,
    tensors: 392,
    parameters: 40_370_176,
  },
  {
    alias: 'smollm2-135m',
    chunk: 192,
    shape: [10, 194],
    perLayer: 53,
    tokens: 1590,
    tensors: 420,
    parameters: 2_442_240,
  },
  ...['mistral-7b', 'llama-3.1-8b'].map((alias) => ({
    alias,
    chunk: 1024,
    shape: [10, 1026],
    perLayer: 80,
    tokens: 2560,
    tensors: 448,
    parameters: 20_971_520,
  })),
  {
    alias: 'gemma-2-2b',
    chunk: 256,
    shape: [10, 258],
    perLayer: 195,
    tokens: 5070,
    tensors: 364,
    parameters: 10_383_360,
  },
];

test('the known bases have the published sizes', (t) => {
  t.equal(KNOWN_BASES.length, EXPECTED.length);
  for (const { alias, chunk, shape, perLayer, tokens, tensors, parameters } of EXPECTED) {
    const base = findBase(alias)!;
    t.equal(findBase(base.id), base, `${alias} is found by id as well`);
    const { layout } = base;
    t.equal(layout.chunkWidth, chunk, `${alias}: the greatest common divisor is the published chunk width`);
    t.same(tokenShape(layout), shape);
    t.equal(tokensPerLayer(layout), perLayer);
    t.equal(tokenCount(layout), tokens);
    const list = loraTensors(layout);
    t.equal(list.length, tensors);
    t.equal(
      list.reduce((sum, tensor) => sum + tensor.shape[0] * tensor.shape[1], 0),
      parameters,
    );
  }
  t.equal(findBase('gpt-2'), undefined);
  t.end();
});

test('every known base is named as the transformers library names its modules', async (t) => {
  // Written by `check_adapter.py --module-names` from the library's own models.
  const { architectures } = JSON.parse(
    await readFile(join(import.meta.dirname, '..', 'peft', 'module-names.json'), 'utf8'),
  ) as { architectures: Record<string, { layerPath: string; modules: string[] }> };
  for (const [architecture, { layerPath, modules }] of Object.entries(architectures)) {
    t.equal(layerPathOf(architecture), layerPath, architecture);
    for (const name of TARGET_MODULES)
      t.ok(
        modules.some((path) => path.endsWith(`.${name}`)),
        name,
      );
  }
  for (const { alias, architecture, layout } of KNOWN_BASES) {
    const found = architectures[architecture]!;
    t.equal(layout.layerPath, found.layerPath, alias);
    t.same(layout.modules.map(({ path }) => path).sort(), found.modules, alias);
  }
  t.end();
});

test('layers that an architecture has moved are looked for where they are today', (t) => {
  const { layout } = findBase('qwen2.5-vl-3b')!;
  t.same(withCurrentLayerPath('qwen2_5_vl', { ...layout, layerPath: 'model.layers' }), layout);
  t.equal(withCurrentLayerPath('qwen2_5_vl', layout), layout);
  const own = { ...layout, layerPath: 'language_model.model.layers' };
  t.equal(withCurrentLayerPath('qwen2_5_vl', own), own, 'a place that was chosen stays');
  const { layout: text } = findBase('qwen2.5-7b')!;
  t.equal(withCurrentLayerPath('qwen2', text), text);
  t.equal(withCurrentLayerPath('constructor', text), text);
  t.end();
});

test('a base may have heads wider than its residual stream, another chunk width and another place for layers', (t) => {
  const layout = layoutForBase({
    layers: 2,
    hidden: 64,
    query: 96,
    kv: 32,
    ffn: 128,
    rank: 4,
    alpha: 8,
    chunkWidth: 16,
    layerPath: 'model.language_model.layers',
  });
  const byName = new Map(loraTensors(layout).map((tensor) => [tensor.name, tensor.shape]));
  const name = (path: string) => `base_model.model.model.language_model.layers.1.self_attn.${path}.weight`;
  t.same(byName.get(name('q_proj.lora_A')), [4, 64]);
  t.same(byName.get(name('q_proj.lora_B')), [96, 4]);
  t.same(byName.get(name('o_proj.lora_A')), [4, 96]);
  t.same(byName.get(name('o_proj.lora_B')), [64, 4]);
  t.equal(tokenCount(layout), 2 * ((64 * 9 + 96 * 2 + 32 * 2 + 128 * 3 - 64 * 2) / 16));
  t.end();
});

test('heads have an even width, the same for q and k, and share k evenly', (t) => {
  for (const { id, layout, heads } of KNOWN_BASES) t.same(findHeadErrors(layout.modules, heads), [], id);
  const { modules } = findBase('smollm2-135m')!.layout;
  for (const [heads, kvHeads, message] of [
    [7, 1, /7 heads do not divide 576/],
    [9, 5, /5 heads do not divide 192/],
    [6, 4, /6 heads cannot share 4/],
    [18, 3, /q would have 32 rows, and those of k 64/],
  ] as const) {
    t.match(findHeadErrors(modules, { heads, kvHeads }).join(), message);
  }
  const mlp = modules.filter(({ path }) => path.startsWith('mlp'));
  t.same(findHeadErrors(mlp, { heads: 7, kvHeads: 7 }), [], 'without q and k there is nothing to compare');
  t.end();
});

test('a layout that does not tile is refused, with the field', (t) => {
  const good = layoutForBase({ layers: 1, hidden: 64, kv: 32, ffn: 128, rank: 4, alpha: 8 });
  const { alpha: _, ...withoutAlpha } = good;
  const cases: [string, unknown, string][] = [
    ['no object', 'layout', ''],
    ['a missing field', withoutAlpha, ''],
    ['an unknown field', { ...good, dropout: 0 }, ''],
    ['an odd rank', { ...good, rank: 5 }, '/rank'],
    ['an odd chunk width', { ...good, chunkWidth: 1 }, '/chunkWidth'],
    ['a fraction', { ...good, layers: 1.5 }, '/layers'],
    ['alpha 0', { ...good, alpha: 0 }, '/alpha'],
    ['a width the chunk does not divide', { ...good, chunkWidth: 48 }, '/modules/0/in'],
    ['no module', { ...good, modules: [] }, '/modules'],
    ['a module twice', { ...good, modules: [good.modules[0], good.modules[0]] }, '/modules/1/path'],
    ['a path with a slash', { ...good, layerPath: 'model/layers' }, '/layerPath'],
    [
      'too many tokens',
      { ...good, chunkWidth: 2, layers: 1024, modules: [{ path: 'a', in: 4096, out: 4096 }] },
      '',
    ],
  ];
  for (const [label, layout, pointer] of cases) {
    try {
      checkLayout(layout);
      t.fail(`${label} passed`);
    } catch (error) {
      t.match(error, { code: 'layout-invalid' }, label);
      const { fields } = error as { fields: { pointer: string }[] };
      t.ok(
        fields.some((field) => field.pointer === pointer),
        `${label} names ${pointer || 'the layout'}`,
      );
    }
  }
  t.throws(
    () => layoutForBase({ layers: 1, hidden: 65, kv: 13, ffn: 130, rank: 4, alpha: 8 }),
    { code: 'layout-invalid' },
    'odd widths have no even chunk',
  );
  t.doesNotThrow(() => checkLayout(JSON.parse(JSON.stringify(good)) satisfies LoraLayout));
  t.end();
});

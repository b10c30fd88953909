import { test } from 'tap';
import { peftConfig } from '../../../src/adapter/peft-config.ts';
import { findBase, TARGET_MODULES } from '../../../src/lora/bases.ts';
import type { TokenLayout } from '../../../src/lora/layout.ts';
import { tokenizedTensors } from '../../../src/lora/tensors.ts';
import { parseBaseFile } from '../../../src/models/import/base-file.ts';
import { TINY_BASE } from '../small-bundle.ts';

test('a base is described by its widths or by its whole layout', (t) => {
  const { id, architecture, layout } = findBase('qwen2.5-7b')!;
  const shape = { layers: 28, hidden: 3584, kv: 512, ffn: 18_944, rank: 16, alpha: 32 };
  t.same(parseBaseFile(JSON.stringify({ id, architecture, shape })), { id, architecture, layout });
  t.same(parseBaseFile(JSON.stringify(TINY_BASE)), TINY_BASE);
  const vision = findBase('qwen2.5-vl-3b')!;
  const widths = { layers: 36, hidden: 2048, kv: 256, ffn: 11_008, rank: 16, alpha: 32 };
  const { layout: found } = parseBaseFile(
    JSON.stringify({ id: vision.id, architecture: vision.architecture, shape: widths }),
  );
  t.same(found, vision.layout, 'the architecture tells where the layers are');
  t.end();
});

test('widths need nothing in common where adapters are not made of weight tokens', (t) => {
  const shape = { layers: 2, hidden: 15, kv: 5, ffn: 22, rank: 1, alpha: 2, targets: ['v_proj', 'q_proj'] };
  const text = JSON.stringify({ id: 'example/odd', architecture: 'llama', shape });
  t.throws(() => parseBaseFile(text), { code: 'layout-invalid' });
  t.same(parseBaseFile(text, { tokens: false }).layout, {
    rank: 1,
    alpha: 2,
    layers: 2,
    layerPath: 'model.layers',
    modules: [
      { path: 'self_attn.q_proj', in: 15, out: 15 },
      { path: 'self_attn.v_proj', in: 15, out: 5 },
    ],
  });
  const { chunkWidth: _, ...plain } = TINY_BASE.layout;
  t.same(parseBaseFile(JSON.stringify(TINY_BASE), { tokens: false }).layout, plain);
  t.end();
});

test('the heads of a base are told beside its widths, and have to fit them', (t) => {
  const { id, architecture, heads, layout } = findBase('smollm2-135m')!;
  const shape = { layers: 30, hidden: 576, kv: 192, ffn: 1536, rank: 8, alpha: 16 };
  t.same(parseBaseFile(JSON.stringify({ id, architecture, heads, shape })), {
    id,
    architecture,
    heads,
    layout,
  });
  const wrong = { id, architecture, heads: { heads: 9, kvHeads: 9 }, layout };
  t.throws(() => parseBaseFile(JSON.stringify(wrong)), {
    code: 'layout-invalid',
    message: /9 heads do not divide 192 rows/,
  });
  t.throws(() => parseBaseFile(JSON.stringify({ ...wrong, heads: { heads: 9 } })), {
    code: 'checkpoint-invalid',
  });
  t.end();
});

test('the targeted modules are those named, in the order of the rule', (t) => {
  const { id, architecture, layout } = findBase('smollm2-135m')!;
  const widths = { layers: 30, hidden: 576, kv: 192, ffn: 1536, rank: 8, alpha: 16 };
  const read = (targets: readonly string[]) =>
    parseBaseFile(JSON.stringify({ id, architecture, shape: { ...widths, targets } }));
  const { layout: two } = read(['v_proj', 'q_proj']);
  t.same(two, { ...layout, modules: [layout.modules[0], layout.modules[2]] });
  const { target_modules: targets } = JSON.parse(new TextDecoder().decode(peftConfig({ id }, two)));
  t.same(targets, ['q_proj', 'v_proj']);
  t.same(read([...TARGET_MODULES]).layout, layout);
  t.same(
    tokenizedTensors(two as TokenLayout)
      .slice(0, 5)
      .map(({ layer, module, side }) => [layer, module.path, side]),
    [
      [0, 'self_attn.q_proj', 'A'],
      [0, 'self_attn.q_proj', 'B'],
      [0, 'self_attn.v_proj', 'A'],
      [0, 'self_attn.v_proj', 'B'],
      [1, 'self_attn.q_proj', 'A'],
    ],
  );
  t.end();
});

test('what describes no base is refused', (t) => {
  const { id, architecture, layout } = TINY_BASE;
  const shape = { layers: 2, hidden: 8, kv: 4, ffn: 16, rank: 2, alpha: 4 };
  const table: [string, unknown, string][] = [
    ['no object', [], 'checkpoint-invalid'],
    ['neither widths nor layout', { id, architecture }, 'checkpoint-invalid'],
    ['both', { id, architecture, layout, shape }, 'checkpoint-invalid'],
    ['an unknown width', { id, architecture, shape: { ...shape, heads: 2 } }, 'checkpoint-invalid'],
    ['a fraction', { id, architecture, shape: { ...shape, hidden: 8.5 } }, 'checkpoint-invalid'],
    ['no target', { id, architecture, shape: { ...shape, targets: [] } }, 'checkpoint-invalid'],
    [
      'an unknown target',
      { id, architecture, shape: { ...shape, targets: ['lm_head'] } },
      'checkpoint-invalid',
    ],
    [
      'a target twice',
      { id, architecture, shape: { ...shape, targets: ['q_proj', 'q_proj'] } },
      'checkpoint-invalid',
    ],
    ['chunks that do not tile', { id, architecture, shape: { ...shape, chunkWidth: 6 } }, 'layout-invalid'],
  ];
  for (const [what, value, code] of table) {
    t.throws(() => parseBaseFile(JSON.stringify(value)), { code }, what);
  }
  t.throws(() => parseBaseFile('{'), { code: 'checkpoint-invalid', message: /not JSON/ });
  t.end();
});

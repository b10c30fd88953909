import { test } from 'tap';
import { findBase } from '../../../src/lora/bases.ts';
import { parseBaseFile } from '../../../src/models/import/base-file.ts';
import { TINY_BASE } from '../small-bundle.ts';

test('a base is described by its widths or by its whole layout', (t) => {
  const { id, architecture, layout } = findBase('qwen2.5-7b')!;
  const shape = { layers: 28, hidden: 3584, kv: 512, ffn: 18_944, rank: 16, alpha: 32 };
  t.same(parseBaseFile(JSON.stringify({ id, architecture, shape })), { id, architecture, layout });
  t.same(parseBaseFile(JSON.stringify(TINY_BASE)), TINY_BASE);
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
    ['chunks that do not tile', { id, architecture, shape: { ...shape, chunkWidth: 6 } }, 'layout-invalid'],
  ];
  for (const [what, value, code] of table) {
    t.throws(() => parseBaseFile(JSON.stringify(value)), { code }, what);
  }
  t.throws(() => parseBaseFile('{'), { code: 'checkpoint-invalid', message: /not JSON/ });
  t.end();
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { findBase } from '../../src/lora/bases.ts';

const parse = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;

test('the configuration says what PEFT writes for the same adapter', async (t) => {
  const base = findBase('qwen2.5-0.5b')!;
  const bytes = peftConfig(base, base.layout);
  const ours = parse(bytes);
  const theirs = parse(
    await readFile(join(import.meta.dirname, '..', 'golden', 'adapter', 'adapter_config.json')),
  );
  for (const [key, value] of Object.entries(ours)) {
    t.ok(key in theirs, `PEFT knows ${key}`);
    if (key === 'target_modules')
      t.same([...(value as string[])].sort(), [...(theirs[key] as string[])].sort());
    else t.same(value, theirs[key], key);
  }
  // What PEFT invented later is switched off in its own file too, so leaving it out changes nothing.
  const left = Object.entries(theirs).filter(([key]) => !(key in ours) && key !== 'peft_version');
  t.ok(left.length > 0);
  const off = { qalora_group_size: 16 } as Record<string, unknown>;
  for (const [key, value] of left)
    t.ok(value === null || value === false || off[key] === value, `${key} is off`);
  t.same(bytes, peftConfig(base, base.layout), 'the same bytes every time');
});

test('a vision model’s adapter names every language module by its path', (t) => {
  const base = findBase('qwen2.5-vl-3b')!;
  const { target_modules: targets, r, lora_alpha } = parse(peftConfig(base, base.layout));
  t.same([r, lora_alpha], [16, 32]);
  const paths = targets as string[];
  t.equal(paths.length, 252);
  t.equal(new Set(paths).size, 252);
  t.equal(paths[0], 'model.language_model.layers.0.self_attn.q_proj');
  t.equal(paths[251], 'model.language_model.layers.35.mlp.down_proj');
  t.end();
});

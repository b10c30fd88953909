import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { ADAPTER_CONFIG_FILE } from '../../src/adapter/read-peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { ADAPTER_WEIGHTS_FILE, verifyAdapter } from '../../src/adapter/verify.ts';
import type { Dtype } from '../../src/base/dtype.ts';
import { layoutForBase } from '../../src/lora/bases.ts';
import { loraTensors } from '../../src/lora/tensors.ts';

const layout = layoutForBase({ layers: 2, hidden: 32, kv: 16, ffn: 64, rank: 4, alpha: 8 });
/** rank × (in + out) over q, k, v, o, up, gate, down of two layers. */
const PARAMETERS = 2 * 4 * (64 + 48 + 48 + 64 + 96 + 96 + 96);
const base = { id: 'example/tiny', architecture: 'llama' };

type Change = {
  config?: (config: Record<string, unknown>) => unknown;
  tensors?: (tensors: { name: string; shape: [number, number] }[]) => { name: string; shape: number[] }[];
  dtype?: Dtype;
};

async function writeAdapter(
  directory: string,
  { config = (c) => c, tensors = (list) => list, dtype }: Change = {},
) {
  const json = JSON.parse(new TextDecoder().decode(peftConfig(base, layout))) as Record<string, unknown>;
  await writeFile(join(directory, ADAPTER_CONFIG_FILE), JSON.stringify(config(json)));
  const list = tensors(loraTensors(layout).map(({ name, shape }) => ({ name, shape: [...shape] })));
  const values = list.map(({ shape }) => new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5));
  await writeFile(
    join(directory, ADAPTER_WEIGHTS_FILE),
    writeSafetensors(list, values, { dtype: dtype ?? 'bf16' }),
  );
}

test('a good adapter is summed up', async (t) => {
  const directory = t.testdir();
  for (const [dtype, width] of [
    ['bf16', 2],
    ['f16', 2],
    ['f32', 4],
  ] as const) {
    await writeAdapter(directory, { dtype });
    const summary = await verifyAdapter(directory, layout, { finite: true });
    t.match(summary, { tensors: 28, parameters: PARAMETERS, dtype });
    t.ok(summary.bytes > PARAMETERS * width && summary.bytes < PARAMETERS * width + 6000);
  }
  await writeAdapter(directory, {
    config: (config) => ({
      ...config,
      target_modules: [0, 1].flatMap((layer) =>
        layout.modules.map(({ path }) => `model.layers.${layer}.${path}`),
      ),
    }),
  });
  await t.resolves(verifyAdapter(directory, layout), 'targets may be whole paths');
});

test('an adapter for something else is refused, with the reason', async (t) => {
  const directory = t.testdir();
  const cases: [string, Change, RegExp][] = [
    ['another kind', { config: (c) => ({ ...c, peft_type: 'IA3' }) }, /peft_type/],
    ['no base', { config: (c) => ({ ...c, base_model_name_or_path: null }) }, /base_model_name_or_path/],
    ['another rank', { config: (c) => ({ ...c, r: 8 }) }, /r 8/],
    ['another alpha', { config: (c) => ({ ...c, lora_alpha: 16 }) }, /lora_alpha 16/],
    ['a rank pattern', { config: (c) => ({ ...c, rank_pattern: { q_proj: 8 } }) }, /rank_pattern/],
    ['DoRA', { config: (c) => ({ ...c, use_dora: true }) }, /use_dora/],
    [
      'a target too few',
      { config: (c) => ({ ...c, target_modules: ['q_proj'] }) },
      /does not target model\.layers\.0\.self_attn\.k_proj/,
    ],
    [
      'a target too many',
      { config: (c) => ({ ...c, target_modules: [...(c['target_modules'] as string[]), 'lm_head'] }) },
      /lm_head/,
    ],
    ['a list as config', { config: () => [] }, /adapter_config/],
    [
      'a tensor too few',
      { tensors: (list) => list.slice(1) },
      /lacks .*layers\.0\.self_attn\.q_proj\.lora_A/,
    ],
    ['a tensor too many', { tensors: (list) => [...list, { name: 'zzz', shape: [1] }] }, /unexpected zzz/],
    [
      'B not transposed',
      { tensors: (list) => list.map((x) => ({ ...x, shape: [...x.shape].reverse() })) },
      /shape/,
    ],
    ['another axis', { tensors: (list) => list.map((x) => ({ ...x, shape: [...x.shape, 1] })) }, /shape/],
  ];
  for (const [label, change, message] of cases) {
    await writeAdapter(directory, change);
    await t.rejects(verifyAdapter(directory, layout), { code: 'adapter-mismatch', message }, label);
  }
});

test('broken files are refused', async (t) => {
  const directory = t.testdir();
  await writeAdapter(directory);
  await writeFile(join(directory, ADAPTER_CONFIG_FILE), '{"r": ');
  await t.rejects(verifyAdapter(directory, layout), { code: 'adapter-mismatch', message: /JSON/ });

  await writeAdapter(directory, { dtype: 'f32' });
  const chunks: Uint8Array[] = [];
  const list = loraTensors(layout);
  const values = list.map(({ shape }) => new Float32Array(shape[0] * shape[1]));
  for await (const chunk of writeSafetensors(list, values, { dtype: 'f32' })) chunks.push(chunk.slice());
  const bytes = Buffer.concat(chunks);
  bytes.writeFloatLE(Number.NaN, bytes.length - 4);
  await writeFile(join(directory, ADAPTER_WEIGHTS_FILE), bytes);
  await t.resolves(verifyAdapter(directory, layout), 'numbers are not read unless asked for');
  await t.rejects(verifyAdapter(directory, layout, { finite: true }), {
    code: 'adapter-not-finite',
    message: new RegExp(list.at(-1)!.name.replaceAll('.', '\\.')),
  });
  await writeFile(join(directory, ADAPTER_WEIGHTS_FILE), bytes.subarray(0, -1));
  await t.rejects(verifyAdapter(directory, layout), { code: 'safetensors-invalid' });
});

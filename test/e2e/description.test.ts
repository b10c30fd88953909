/** A description through the whole service, to the logits of a base in llama.cpp that has the adapter. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { parsePeftConfig } from '../../src/adapter/read-peft-config.ts';
import { openSafetensors } from '../../src/adapter/safetensors.ts';
import type { Job } from '../../src/http/schemas.ts';
import { openLlamaBase } from '../gguf/llama-logits.ts';
import { startLoradrop } from '../helpers/loradrop-process.ts';
import { TINY_BASE, TINY_TOKENS, tinyLogits, tinyWeights, writeTinyGguf } from '../helpers/tiny-llama.ts';
import { importTinyLlamaT2l } from '../models/import/t2l/tiny-llama-bundle.ts';

/** Largest difference in log-probability to float64, as `test/gguf` has it for a Llama. */
const TOLERANCE = 1e-4;

function logProbabilities(logits: Float64Array): Float64Array {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const total = most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
  return logits.map((logit) => logit - total);
}

function difference(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  return Math.max(
    ...a.flatMap((row, position) =>
      Array.from(row, (value, token) => Math.abs(value - b[position]![token]!)),
    ),
  );
}

test('a description becomes an adapter with rsLoRA, whose GGUF has the same effect', async (t) => {
  const root = t.testdir({});
  const bundles = join(root, 'bundles');
  await mkdir(bundles);
  await importTinyLlamaT2l(root, join(bundles, 'tiny'));
  const { url } = await startLoradrop(t, 'start', { DATA_DIR: join(root, 'data'), BUNDLES_DIR: bundles });
  const post = async (body: Record<string, unknown>) => {
    const response = await fetch(`${url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify({ dtype: 'f32', ...body }),
    });
    return (await response.json()) as Job;
  };
  const job = await post({ description: 'Say what the moon is' });
  t.match(job, { status: 'succeeded', promptsEncoded: 1, adapters: [{ tensors: 8, fromStore: false }] });
  const again = await post({ prompts: ['Say what the moon is'] });
  t.match(again, { status: 'succeeded', adapters: [{ fromStore: true, sha256: job.adapters[0]!.sha256! }] });
  const other = await post({ description: 'Name a river' });
  t.not(other.adapters[0]!.sha256, job.adapters[0]!.sha256);

  const read = async (name: string) =>
    Buffer.from(await (await fetch(`${url}/adapters/${job.id}/${name}`)).arrayBuffer());
  const config = parsePeftConfig(await read('adapter_config.json'));
  t.match(config, { r: 4, lora_alpha: 6, use_rslora: true, target_modules: ['q_proj', 'v_proj'] });
  const shown = await (await fetch(`${url}/adapters/${job.id}`)).json();
  t.match(shown, { rank: 4, alpha: 6, rsLora: true });
  const path = join(root, 'adapter_model.safetensors');
  await writeFile(path, await read('adapter_model.safetensors'));

  // The adapter merged into the weights in float64, scaled by alpha / √r.
  const weights = tinyWeights(1);
  const merged = new Map(weights);
  await using file = await openSafetensors(path);
  for (let layer = 0; layer < TINY_BASE.layers; layer++) {
    for (const module of ['self_attn.q_proj', 'self_attn.v_proj']) {
      const numbers = async (side: string) => {
        const name = `base_model.model.model.layers.${layer}.${module}.lora_${side}.weight`;
        const { buffer, byteOffset, byteLength } = await file.read(name);
        return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
      };
      const [a, b] = [await numbers('A'), await numbers('B')];
      const { shape, values } = weights.get(`${layer}.${module}`)!;
      const [rows, columns] = shape as [number, number];
      const sum = Float32Array.from(values);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          let product = 0;
          for (let k = 0; k < 4; k++) product += b[i * 4 + k]! * a[k * columns + j]!;
          sum[i * columns + j]! += (6 / Math.sqrt(4)) * product;
        }
      }
      merged.set(`${layer}.${module}`, { shape, values: sum });
    }
  }
  const tokens = [
    TINY_TOKENS.start,
    ...Array.from(Buffer.from('The moon'), (byte) => TINY_TOKENS.firstByte + byte),
  ];
  const expected = tinyLogits(merged, tokens).map(logProbabilities);
  const untouched = tinyLogits(weights, tokens).map(logProbabilities);
  await writeTinyGguf(join(root, 'tiny.gguf'), weights);
  const gguf = join(root, 'adapter.gguf');
  await writeFile(gguf, await read('adapter.gguf?dtype=f32'));
  await using base = await openLlamaBase(join(root, 'tiny.gguf'));
  const own = difference(await base.logProbabilities(tokens), untouched);
  const adapted = difference(await base.logProbabilities(tokens, gguf), expected);
  t.ok(own < TOLERANCE, `the base alone: ${own}`);
  t.ok(adapted < TOLERANCE, `with the adapter: ${adapted}`);
  t.ok(difference(expected, untouched) > 0.1, `the adapter changes ${difference(expected, untouched)} nats`);
});

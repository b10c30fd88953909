import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { test } from 'tap';
import { openSafetensors } from '../../src/adapter/safetensors.ts';
import { openTokenizer } from '../../src/inference/tokenizer.ts';
import { TINY_LAYOUT, tinyWeights, writeTinyGguf } from '../helpers/tiny-llama.ts';
import { referenceMatrices } from '../models/import/t2l/reference-hypernetwork.ts';
import { writeRotaryEncoder } from '../models/import/t2l/rotary-encoder.ts';
import {
  SIZES,
  smallHypernetwork,
  VARIANTS,
  writeT2lCheckpoint,
} from '../models/import/t2l/small-checkpoint.ts';
import { importTinyLlamaT2l } from '../models/import/t2l/tiny-llama-bundle.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const TOLERANCE = 1e-5;

function loradrop(...args: readonly string[]) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, [main, ...args], { env: { PATH: process.env['PATH'] } }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

/** The encoder's state of the first token, on the text's own tokens. */
async function firstHidden(directory: string, text: string): Promise<Float32Array> {
  const path = join(directory, 'tokenizer.json');
  const { tokenize } = await openTokenizer(path, { tokens: 128, padTokenId: 0 });
  const { ids, length } = tokenize(text);
  const row = (value: (i: number) => number) =>
    new Tensor(
      'int64',
      BigInt64Array.from({ length }, (_, i) => BigInt(value(i))),
      [1, length],
    );
  const session = await InferenceSession.create(join(directory, 'onnx', 'model.onnx'));
  const { last_hidden_state: hidden } = await session.run({
    input_ids: row((i) => ids[i]!),
    attention_mask: row(() => 1),
    token_type_ids: row(() => 0),
  });
  await session.release();
  return (hidden!.data as Float32Array).slice(0, SIZES.width);
}

test('a checkpoint directory becomes a bundle, and a description an adapter', async (t) => {
  const shape = { layers: 3, hidden: 12, query: 18, kv: 6, ffn: 21, rank: 4, alpha: 8 };
  const root = t.testdir({
    'base.json': JSON.stringify({ id: 'example/tiny', architecture: 'mistral', shape }),
    'one.txt': 'Answer questions about school physics\n',
    'several.txt': 'Answer questions\nName rivers\n',
  });
  const at = (name: string) => join(root, name);
  const variant = VARIANTS['sft']!;
  // An order that no other part of the checkpoint tells.
  const reference = smallHypernetwork(variant, ['v_proj', 'q_proj']);
  await writeT2lCheckpoint(at('checkpoint'), reference.tensors, variant.args);
  await writeRotaryEncoder(at('gte'), SIZES.width);
  const from = ['--checkpoint', at('checkpoint'), '--encoder', at('gte'), '--untrained'];
  const imported = await loradrop('import', ...from, '--layout', at('base.json'), '--out', at('bundle'));
  t.equal(imported.code, 0, imported.err);
  t.match(imported.out, /generator parameters, takes a description, base example\/tiny/);
  t.match(imported.out, /Order of modules: v_proj, q_proj/);

  const generated = await loradrop(
    ...['generate', '--bundle', at('bundle'), '--prompts', at('one.txt')],
    ...['--dtype', 'f32', '--out', at('adapter')],
  );
  t.equal(generated.code, 0, generated.err);
  t.match(generated.out, /; taken as a description\n/);
  const hidden = await firstHidden(at('gte'), 'Answer questions about school physics.');
  await using file = await openSafetensors(join(at('adapter'), 'adapter_model.safetensors'));
  for (const [key, values] of referenceMatrices(reference, hidden)) {
    const [module, side] = key.split('.');
    const size = values.length / SIZES.layers;
    for (let layer = 0; layer < SIZES.layers; layer++) {
      const name = `base_model.model.model.layers.${layer}.self_attn.${module}.lora_${side}.weight`;
      const { buffer, byteOffset, byteLength } = await file.read(name);
      const made = new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
      const expected = values.subarray(layer * size, (layer + 1) * size);
      const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const apart = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - made[i]!)), 0);
      t.ok(apart <= TOLERANCE * largest, `${name}: ${apart / largest}`);
    }
  }
  const config = JSON.parse(await readFile(join(at('adapter'), 'adapter_config.json'), 'utf8'));
  t.match(config, { r: 4, lora_alpha: 8, use_rslora: true, target_modules: ['q_proj', 'v_proj'] });

  const make = (...options: string[]) =>
    loradrop('generate', '--bundle', at('bundle'), '--out', at('refused'), ...options);
  t.match((await make('--prompts', at('several.txt'))).err, /2 texts were sent.*\[one-description\]/);
  t.match((await make('--prompts', at('one.txt'), '--count', '2')).err, /\[one-description\]/);
  t.match((await make('--description', 'x', '--strict-prompts')).err, /strictPrompts.*\[one-description\]/);
  t.match(
    (await loradrop('generate', '--description', 'x', '--out', at('refused'))).err,
    /takes prompts of a task, not a description/,
  );
  const shown = await loradrop('models', 'inspect', at('bundle'));
  t.match(shown.out, /family +Text-to-LoRA[\s\S]*condition +one text of at most 8192 tokens/);
  const unnamed = await loradrop('import', ...from, '--out', at('refused'));
  t.match(unnamed.err, /names no base that is known here.*Give --base or --layout/);
});

test('a description is judged beside a foreign one', async (t) => {
  const rows = Array.from({ length: 6 }, (_, i) => ({
    prompt: `Is ${i} even?`,
    response: i % 2 ? 'no' : 'yes',
  }));
  const root = t.testdir({
    'rows.jsonl': rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    'own.txt': 'Say whether a number is even\n',
    'foreign.txt': 'Name a river\n',
  });
  const at = (name: string) => join(root, name);
  await importTinyLlamaT2l(root, at('bundle'));
  await writeTinyGguf(at('tiny.gguf'), tinyWeights(1));
  t.equal(TINY_LAYOUT.layers, 2);
  const evaluate = (...options: string[]) =>
    loradrop(
      ...['evaluate', '--bundle', at('bundle'), '--base', at('tiny.gguf'), '--data', at('rows.jsonl')],
      ...['--threads', '1', '--json', ...options],
    );
  const judged = await evaluate('--prompts', at('own.txt'), '--control', at('foreign.txt'));
  t.equal(judged.code, 0, judged.err);
  const report = JSON.parse(judged.out);
  t.match(report, { bundle: { id: 'tiny-llama-t2l' }, rows: { given: 6, scored: 6, prompts: 1 } });
  t.match((await evaluate()).err, /takes a description of the task: give a file with one as --prompts/);
  await writeFile(at('own.txt'), 'One\nTwo\n');
  t.match((await evaluate('--prompts', at('own.txt'))).err, /\[one-description\]/);
});

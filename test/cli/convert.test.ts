import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { runCli } from '../../src/cli/program.ts';
import { layoutForBase } from '../../src/lora/bases.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { parseGguf } from '../adapter/parse-gguf.ts';

const LAYOUT = layoutForBase({ layers: 1, hidden: 32, kv: 16, ffn: 48, rank: 4, alpha: 8 });

/** Runs one command line; what it prints as errors comes back, too. */
async function run(t: Test, ...args: string[]) {
  const lines: string[] = [];
  const errors: string[] = [];
  const written = t.capture(process.stderr, 'write', (text: string) => {
    errors.push(text);
    return true;
  });
  const status = await runCli(['node', 'loradrop', 'convert', ...args], {
    line: (text = '') => lines.push(text),
    note: () => {},
    progress: () => ({ update() {}, stop() {} }),
  });
  written.restore();
  return { status, out: lines.join('\n'), error: errors.join('') };
}

async function adapterFor(t: Test, base: string) {
  const root = t.testdir({ adapter: {} });
  const adapter = join(root, 'adapter');
  const values = loraTensors(LAYOUT).map(({ shape }) => new Float32Array(shape[0] * shape[1]).fill(0.5));
  await writeFile(
    join(adapter, 'adapter_model.safetensors'),
    writeSafetensors(loraTensors(LAYOUT), values, { dtype: 'bf16' }),
  );
  await writeFile(join(adapter, 'adapter_config.json'), peftConfig({ id: base }, LAYOUT));
  return { root, adapter, out: join(root, 'a.gguf') };
}

test('an adapter directory becomes a file', async (t) => {
  const { root, adapter, out } = await adapterFor(t, 'example/llama');
  const paths = ['--adapter', adapter, '--out', out];
  const made = await run(t, ...paths, '--architecture', 'llama', '--heads', '4,2', '--dtype', 'f32');
  t.match(made, { status: 0, out: /a\.gguf: llama, 14 tensors, alpha 8, f32, [\d.]+ KiB/ });
  const { metadata, tensors } = parseGguf(await readFile(out));
  t.match(metadata, { 'general.architecture': 'llama', 'adapter.lora.alpha': 8 });
  t.equal(tensors.length, 14);
  t.match(await run(t, ...paths, '--architecture', 'qwen2'), { status: 1, error: /\[output-occupied\]/ });
  t.strictSame((await readdir(root)).sort(), ['a.gguf', 'adapter'], 'nothing half-made is left');
});

test('a known base needs no more than its name, or that which the adapter has', async (t) => {
  const { adapter, out } = await adapterFor(t, 'Qwen/Qwen2.5-7B-Instruct');
  t.match(await run(t, '--adapter', adapter, '--out', out), { status: 0, out: /qwen2, 14 tensors/ });
  const other = await adapterFor(t, 'example/nobodys');
  const paths = ['--adapter', other.adapter, '--out', other.out];
  t.match(await run(t, ...paths, '--base', 'qwen2.5-0.5b'), { status: 0, out: /f16/ });
});

test('what is missing is said in a sentence, and no file is made', async (t) => {
  const { root, adapter, out } = await adapterFor(t, 'example/nobodys');
  const paths = ['--adapter', adapter, '--out', out];
  for (const [args, status, error] of [
    [[], 1, /base, example\/nobodys, is not a known one\. Give its --architecture \(llama, mistral, qwen2/],
    [['--base', 'nobody'], 1, /nobody is no known base/],
    [['--architecture', 'mistral'], 1, /mistral adapter are reordered head by head\. Give --heads/],
    [['--architecture', 'mistral', '--heads', '4'], 1, /two whole numbers/],
    [
      ['--architecture', 'mistral', '--heads', '4,4'],
      1,
      /heads of q would have 8 rows.*\[adapter-mismatch\]/,
    ],
    [['--architecture', 'mamba'], 2, /Allowed choices are llama/],
    [['--base', 'smollm2-135m', '--heads', '9,3'], 2, /cannot be used with/],
    [['--base', 'smollm2-135m'], 1, /9 heads do not divide 32 rows/],
  ] as const) {
    t.match(await run(t, ...paths, ...args), { status, error }, args.join(' '));
  }
  t.match(await run(t, '--adapter', root, '--out', out, '--architecture', 'qwen2'), {
    status: 1,
    error: /no adapter directory/,
  });
  t.strictSame(await readdir(root), ['adapter']);
});

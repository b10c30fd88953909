import { test } from 'tap';
import { type Conversion, conversionKey, convertToGguf, openGguf } from '../../src/adapter/convert-gguf.ts';
import { writeGguf } from '../../src/adapter/gguf.ts';
import { canBeGguf, checkGgufTarget, GGUF_ARCHITECTURES } from '../../src/adapter/gguf-architecture.ts';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import type { PeftFiles } from '../../src/adapter/peft-files.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import type { Dtype } from '../../src/base/dtype.ts';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import { layerPathOf, layoutForBase } from '../../src/lora/bases.ts';
import type { LoraLayout } from '../../src/lora/layout.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { parseGguf } from './parse-gguf.ts';

const LAYOUT = layoutForBase({ layers: 2, hidden: 16, kv: 8, ffn: 24, rank: 4, alpha: 6 });
const LLAMA: Conversion = {
  dtype: 'f32',
  target: { architecture: 'llama', heads: { heads: 4, kvHeads: 2 } },
};

async function bytesOf(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** An adapter of this layout in memory, in pieces that no tensor ends with; it counts how many streams are open. */
async function adapter(
  options: {
    layout?: LoraLayout;
    dtype?: Dtype;
    config?: object;
    keep?: (name: string) => boolean;
    rename?: (name: string) => string;
    value?: (value: number) => number;
  } = {},
) {
  const { layout = LAYOUT, dtype = 'f32', keep = () => true, rename = (name) => name } = options;
  const random = seededRandom(3);
  const tensors = loraTensors(layout).filter(({ name }) => keep(name));
  const matrices = tensors.map(({ shape }) => {
    const values = new Float32Array(shape[0] * shape[1]);
    fillUniform(random, values, 0.3);
    return options.value ? values.map(options.value) : values;
  });
  const named = tensors.map(({ name, shape }) => ({ name: rename(name), shape }));
  const bytes = await bytesOf(writeSafetensors(named, matrices, { dtype }));
  const config = {
    ...JSON.parse(Buffer.from(peftConfig({ id: 'b' }, layout)).toString()),
    ...options.config,
  };
  const open = { count: 0 };
  const files: PeftFiles = {
    config: Buffer.from(JSON.stringify(config)),
    weightBytes: bytes.length,
    openWeights: async () => pieces(),
  };
  async function* pieces() {
    open.count += 1;
    try {
      for (let start = 0; start < bytes.length; start += 1001) yield bytes.subarray(start, start + 1001);
    } finally {
      open.count -= 1;
    }
  }
  return { files, tensors, matrices, bytes, open };
}

test('a conversion has the size it promised, and is what the writer writes of the same numbers', async (t) => {
  const { files, tensors, matrices, open } = await adapter();
  for (const dtype of ['f32', 'f16'] as const) {
    const conversion = { ...LLAMA, dtype };
    const file = await openGguf(files, conversion);
    const bytes = await bytesOf(await file.read());
    t.equal(bytes.length, file.bytes);
    t.match(file, { tensors: 28, alpha: 6 });
    const options = { dtype, alpha: 6, architecture: 'llama', heads: { heads: 4, kvHeads: 2 } };
    t.ok(bytes.equals(await bytesOf(writeGguf(tensors, matrices, options))), dtype);
    const once = convertToGguf(await files.openWeights(), files, conversion);
    t.ok(bytes.equals(await bytesOf(once)), 'and so is one of weights that are read once');
    for (const [start, end] of [
      [0, 0],
      [0, file.bytes - 1],
      [777, 779],
      [1500, 6000],
      [file.bytes - 1, file.bytes - 1],
    ] as const) {
      const part = await bytesOf(await file.read({ range: { start, end } }));
      t.ok(part.equals(bytes.subarray(start, end + 1)), `${start}–${end}`);
    }
  }
  t.equal(open.count, 0, 'every stream was closed');
});

test('a stream that is left or never begun leaves nothing open', async (t) => {
  const { files, open } = await adapter();
  const file = await openGguf(files, LLAMA);
  const content = await file.read();
  t.equal(open.count, 0);
  for await (const _piece of content) {
    t.equal(open.count, 1);
    break;
  }
  t.equal(open.count, 0);
  const stop = new AbortController();
  stop.abort(new Error('enough'));
  await t.rejects(bytesOf(await file.read({ signal: stop.signal })), { message: 'enough' });
  t.equal(open.count, 0);
});

test('numbers are those of the file: bf16 becomes f32 exactly, and f16 where it has a place there', async (t) => {
  const { files, matrices } = await adapter({ dtype: 'bf16' });
  const wide = parseGguf(await bytesOf(await (await openGguf(files, LLAMA)).read()));
  const half = parseGguf(await bytesOf(await (await openGguf(files, { ...LLAMA, dtype: 'f16' })).read()));
  let moved = 0;
  for (const [index, { values }] of wide.tensors.entries()) {
    for (const [place, value] of values.entries()) {
      moved = Math.max(moved, Math.abs(value - half.tensors[index]!.values[place]!));
    }
    t.equal(values.length, matrices[index]!.length);
  }
  t.ok(moved < 2 ** -25, `the smallest step of f16 is 2^-24; the largest difference is ${moved}`);
  const large = await adapter({ dtype: 'bf16', value: (value) => value * 1e6 });
  const file = await openGguf(large.files, { ...LLAMA, dtype: 'f16' });
  await t.rejects(bytesOf(await file.read()), { code: 'adapter-not-finite', message: /range of f16/ });
  t.equal(large.open.count, 0);
  t.ok(await bytesOf(await (await openGguf(large.files, LLAMA)).read()));
});

test('rsLoRA is an alpha that llama.cpp’s own rule turns into the same scale', async (t) => {
  const { files } = await adapter({ config: { use_rslora: true, lora_alpha: 6 } });
  const { metadata } = parseGguf(await bytesOf(await (await openGguf(files, LLAMA)).read()));
  t.equal(metadata['adapter.lora.alpha'], 12, '6 · √4, so that 12 / 4 is 6 / √4');
  const none = await adapter({ config: { lora_alpha: 0 } });
  await t.rejects(openGguf(none.files, LLAMA), { code: 'adapter-mismatch', message: /alpha of 0/ });
});

test('modules that were dropped are not missed, and layers of vision models are found', async (t) => {
  const some = await adapter({ keep: (name) => /layers\.1\.(self_attn\.k|mlp)/.test(name) });
  const { tensors } = parseGguf(await bytesOf(await (await openGguf(some.files, LLAMA)).read()));
  t.strictSame(
    tensors.map(({ name }) => name),
    ['attn_k', 'ffn_up', 'ffn_gate', 'ffn_down'].flatMap((name) =>
      ['a', 'b'].map((side) => `blk.1.${name}.weight.lora_${side}`),
    ),
  );
  for (const architecture of GGUF_ARCHITECTURES) {
    const { files } = await adapter({ layout: { ...LAYOUT, layerPath: layerPathOf(architecture) } });
    const file = await openGguf(files, { ...LLAMA, target: { ...LLAMA.target, architecture } });
    t.equal(file.tensors, 28, architecture);
  }
});

test('files that are no adapter of the target are refused before a byte is made', async (t) => {
  const headless = { ...LLAMA, target: { architecture: 'llama' } };
  const cases: [string, Parameters<typeof adapter>[0], Conversion, { code: string; message?: RegExp }][] = [
    [
      'an unknown architecture',
      {},
      { ...LLAMA, target: { architecture: 'phi3' } },
      { code: 'gguf-unsupported' },
    ],
    ['no heads', {}, headless, { code: 'gguf-heads-unknown' }],
    [
      'heads of two widths',
      {},
      { ...LLAMA, target: { architecture: 'llama', heads: { heads: 4, kvHeads: 4 } } },
      { code: 'adapter-mismatch', message: /heads of q would have 4 rows, and those of k 2/ },
    ],
    [
      'a vision tower',
      { rename: (name) => name.replace('model.layers', 'model.visual.blocks') },
      { ...LLAMA, target: { architecture: 'qwen2_5_vl' } },
      { code: 'gguf-unsupported', message: /visual.*no LoRA matrix of a layer/ },
    ],
    [
      'embeddings',
      {
        keep: (name) => /layers\.0.*up/.test(name),
        rename: (name) => name.replace(/layers.*lora/, 'lm_head.lora'),
      },
      LLAMA,
      { code: 'gguf-unsupported' },
    ],
    [
      'half a pair',
      { keep: (name) => !/1\.mlp\.up_proj.lora_B/.test(name) },
      LLAMA,
      { code: 'adapter-mismatch', message: /one lora_A and one lora_B of 1\.mlp\.up_proj/ },
    ],
    ['another rank', { config: { r: 8 } }, LLAMA, { code: 'adapter-mismatch', message: /rank is 8/ }],
    ['DoRA', { config: { use_dora: true } }, LLAMA, { code: 'adapter-mismatch', message: /use_dora/ }],
    ['nothing', { keep: () => false }, LLAMA, { code: 'adapter-mismatch', message: /no LoRA pair/ }],
  ];
  for (const [label, options, conversion, wanted] of cases) {
    const { files, open } = await adapter(options);
    await t.rejects(openGguf(files, conversion), wanted, label);
    t.equal(open.count, 0, label);
  }
  const mlp = await adapter({ keep: (name) => name.includes('mlp') });
  t.equal((await openGguf(mlp.files, headless)).tensors, 12, 'without q and k, nobody asks for heads');
  const { files, bytes } = await adapter();
  await t.rejects(openGguf({ ...files, weightBytes: bytes.length - 1 }, LLAMA), {
    code: 'safetensors-invalid',
  });
});

test('what a conversion depends on is told apart, and nothing else', (t) => {
  const key = (conversion: Conversion) => JSON.stringify(conversionKey(conversion));
  const qwen = { architecture: 'qwen2' };
  t.equal(
    key({ dtype: 'f16', target: qwen }),
    key({ dtype: 'f16', target: { ...qwen, heads: { heads: 4, kvHeads: 2 } } }),
    'no rows of Qwen are reordered',
  );
  const all = [
    LLAMA,
    { ...LLAMA, dtype: 'f16' as const },
    { ...LLAMA, target: { architecture: 'llama', heads: { heads: 2, kvHeads: 1 } } },
    { ...LLAMA, target: qwen },
  ];
  t.equal(new Set(all.map(key)).size, all.length);
  t.ok(canBeGguf(LLAMA.target));
  t.ok(canBeGguf(qwen));
  t.notOk(canBeGguf({ architecture: 'mistral' }));
  t.notOk(canBeGguf({ architecture: 'toString' }));
  checkGgufTarget(LLAMA.target, LAYOUT.modules);
  t.throws(() => checkGgufTarget({ architecture: 'mistral' }, LAYOUT.modules), {
    code: 'gguf-heads-unknown',
  });
  t.end();
});

import { test } from 'tap';
import { checkGgufBase, writeGguf } from '../../src/adapter/gguf.ts';
import { ggufTensorName } from '../../src/adapter/gguf-architecture.ts';
import { findBase } from '../../src/lora/bases.ts';
import type { LoraLayout, LoraTensor } from '../../src/lora/layout.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { parseGguf } from './parse-gguf.ts';

const LAYOUT: LoraLayout = {
  rank: 2,
  alpha: 4,
  chunkWidth: 2,
  layers: 1,
  layerPath: 'model.layers',
  modules: [
    { path: 'self_attn.q_proj', in: 6, out: 8 },
    { path: 'self_attn.k_proj', in: 6, out: 4 },
    { path: 'mlp.down_proj', in: 10, out: 6 },
  ],
};
const HEADS = { heads: 2, kvHeads: 1 };

/** Numbers that count up, each of them once in the whole adapter. */
function counted(tensors: readonly LoraTensor[]): Float32Array[] {
  let next = 0;
  return tensors.map(({ shape }) => Float32Array.from({ length: shape[0] * shape[1] }, () => next++));
}

async function bytesOf(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('a file has the metadata and the tensors of an adapter', async (t) => {
  const tensors = loraTensors(LAYOUT);
  const matrices = counted(tensors);
  for (const dtype of ['f32', 'f16'] as const) {
    const file = await bytesOf(
      writeGguf(tensors, matrices, { dtype, architecture: 'qwen2', alpha: 4, heads: HEADS }),
    );
    const parsed = parseGguf(file);
    t.match(parsed, { magic: 'GGUF', version: 3 });
    t.strictSame(parsed.metadata, {
      'general.type': 'adapter',
      'general.architecture': 'qwen2',
      'adapter.type': 'lora',
      'adapter.lora.alpha': 4,
    });
    t.ok(parsed.padding.every((byte) => byte === 0));
    t.equal(file.length % 32, 0);
    for (const [index, { name, sides, type, offset, values }] of parsed.tensors.entries()) {
      const { shape } = tensors[index]!;
      t.equal(name, ggufTensorName(tensors[index]!));
      t.strictSame(sides, [shape[1], shape[0]], 'the innermost axis comes first');
      t.equal(type, dtype === 'f32' ? 0 : 1);
      t.equal(offset % 32, 0);
      t.strictSame(values, [...matrices[index]!], `${name} as it was`);
    }
  }
  t.strictSame(
    tensors.map(ggufTensorName),
    ['attn_q', 'attn_k', 'ffn_down'].flatMap((name) =>
      ['a', 'b'].map((side) => `blk.0.${name}.weight.lora_${side}`),
    ),
  );
});

test('rows of q and k are reordered for Llama, head by head', async (t) => {
  const tensors = loraTensors(LAYOUT);
  const matrices = counted(tensors);
  const { metadata, tensors: written } = parseGguf(
    await bytesOf(
      writeGguf(tensors, matrices, { dtype: 'f32', architecture: 'llama', alpha: 4, heads: HEADS }),
    ),
  );
  t.equal(metadata['general.architecture'], 'llama');
  const mistral = await bytesOf(
    writeGguf(tensors, matrices, { dtype: 'f32', architecture: 'mistral', alpha: 4, heads: HEADS }),
  );
  t.strictSame(parseGguf(mistral).tensors, written, 'Mistral is a Llama to llama.cpp');
  const orders: Record<string, number[]> = {
    'blk.0.attn_q.weight.lora_b': [0, 2, 1, 3, 4, 6, 5, 7],
    'blk.0.attn_k.weight.lora_b': [0, 2, 1, 3],
  };
  for (const [index, { name, values }] of written.entries()) {
    const rows = orders[name];
    const matrix = matrices[index]!;
    t.strictSame(
      values,
      rows ? rows.flatMap((row) => [...matrix.subarray(2 * row, 2 * row + 2)]) : [...matrix],
      name,
    );
  }
});

test('what does not fit is refused', async (t) => {
  const tensors = loraTensors(LAYOUT);
  const matrices = counted(tensors);
  const write = (given: Float32Array[], options: object = {}, of = tensors) =>
    bytesOf(
      writeGguf(of, given, { dtype: 'f32', architecture: 'llama', alpha: 4, heads: HEADS, ...options }),
    );
  await t.rejects(write(matrices.slice(1)), { code: 'adapter-mismatch', message: /takes 12 numbers/ });
  await t.rejects(write(matrices.slice(0, -1)), {
    code: 'adapter-mismatch',
    message: /5 matrices came for 6/,
  });
  await t.rejects(write([...matrices, new Float32Array(1)]), { message: /Every tensor is written/ });
  await t.rejects(write(matrices, { heads: { heads: 3, kvHeads: 1 } }), {
    message: /3 heads do not divide 8/,
  });
  await t.rejects(write(matrices, { heads: undefined }), { code: 'gguf-heads-unknown' });
  await t.rejects(write(matrices, { alpha: 0 }), { code: 'adapter-mismatch', message: /alpha of 0/ });
  await t.rejects(write(matrices, { architecture: 'mamba' }), {
    code: 'gguf-unsupported',
    message: /mamba cannot be written as GGUF/,
  });
  await t.rejects(write([matrices[0]!.fill(Number.NaN), ...matrices.slice(1)]), {
    code: 'adapter-not-finite',
  });
  const other = loraTensors({ ...LAYOUT, modules: [{ path: 'mixer.in_proj', in: 6, out: 8 }] });
  await t.rejects(write([], {}, other), {
    code: 'gguf-unsupported',
    message: /no name for the module mixer\.in_proj/,
  });
});

test("a layout is compared with a base's dimensions", (t) => {
  const { architecture, layout } = findBase('smollm2-135m')!;
  const base = {
    architecture: 'llama',
    layers: 30,
    hidden: 576,
    ffn: 1536,
    heads: 9,
    kvHeads: 3,
    keyWidth: 64,
    valueWidth: 64,
  };
  checkGgufBase({ architecture, layout }, base);
  t.throws(() => checkGgufBase({ architecture, layout }, { ...base, architecture: 'qwen2' }), {
    code: 'adapter-mismatch',
    message: /architecture llama, and this one's is qwen2/,
  });
  t.throws(
    () => checkGgufBase({ architecture, layout }, { ...base, layers: 32, kvHeads: 9 }),
    Object.assign(new Error(), {
      code: 'adapter-mismatch',
      fields: [
        { pointer: '/layers', message: 'are 30, and the base has 32' },
        { pointer: '/modules/1', message: "self_attn.k_proj is 576 → 192, and the base's is 576 → 576" },
        { pointer: '/modules/2', message: "self_attn.v_proj is 576 → 192, and the base's is 576 → 576" },
      ],
    }),
  );
  const qwen = findBase('qwen2.5-0.5b')!;
  checkGgufBase(qwen, {
    architecture: 'qwen2',
    layers: 24,
    hidden: 896,
    ffn: 4864,
    heads: 14,
    kvHeads: 2,
    keyWidth: 64,
    valueWidth: 64,
  });
  t.end();
});

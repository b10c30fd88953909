import { test } from 'tap';
import type { Dtype } from '../../src/base/dtype.ts';
import { toBf16Bits } from '../../src/base/dtype.ts';
import { openMatrices } from '../../src/inference/matrices.ts';
import { createRounding } from '../../src/inference/rounding.ts';
import { loraStacks, loraTensors } from '../../src/lora/tensors.ts';
import type { Bundle } from '../../src/models/bundle.ts';
import { createGraphBuilder } from '../../src/onnx/graph-builder.ts';

const cpu = { provider: 'cpu', name: 'cpu', threads: 1 } as const;
const LAYOUT = {
  rank: 2,
  alpha: 4,
  layers: 3,
  layerPath: 'model.layers',
  modules: [
    { path: 'self_attn.q_proj', in: 4, out: 5 },
    { path: 'mlp.down_proj', in: 6, out: 3 },
  ],
};
const NUMBERS = loraStacks(LAYOUT).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);

/** Graphs, one a module, whose matrices are the numbers of their input as they lie there. */
function identityBundle(): Bundle {
  const supplied = new Map<string, Uint8Array>();
  const stacks = loraStacks(LAYOUT);
  let from = 0;
  for (const [index, { path }] of LAYOUT.modules.entries()) {
    const graph = createGraphBuilder('identity');
    const x = graph.input('x', 'float32', [1, NUMBERS]);
    const integers = (name: string, values: readonly number[]) =>
      graph.constant(name, BigInt64Array.from(values.map(BigInt)), [values.length]);
    for (const { module, side, shape } of stacks.filter((stack) => stack.module.path === path)) {
      const end = from + shape.reduce((a, b) => a * b);
      const place = [integers(`${side}.from`, [from]), integers(`${side}.to`, [end])];
      const own = graph.node(`${side}.own`, 'Slice', [x, ...place, integers(`${side}.axis`, [1])]);
      const name = `${module.path}.${side}`;
      graph.node(name, 'Reshape', [own, integers(`${side}.shape`, shape)]);
      graph.output(name, 'float32', shape);
      from = end;
    }
    supplied.set(`matrices.0${index}.onnx`, graph.encode());
  }
  const matrices = [...supplied.keys()].map((file) => ({ file }));
  return {
    directory: '/nowhere',
    manifest: { layout: LAYOUT, generator: { matrices } },
    supplied,
  } as unknown as Bundle;
}

async function write(values: Float32Array, dtype: Dtype): Promise<{ bytes: Buffer; turns: number }> {
  const matrices = await openMatrices(identityBundle(), cpu, createRounding({ threads: 1 }));
  const pieces: Uint8Array[] = [];
  let turns = 0;
  await matrices.write(
    { data: values, dims: [1, NUMBERS] },
    { dtype, turn: async () => void turns++, write: (bytes) => void pieces.push(bytes.slice()) },
  );
  return { bytes: Buffer.concat(pieces), turns };
}

test('the bytes of all graphs follow one another as the tensors of a file do', async (t) => {
  const values = Float32Array.from({ length: NUMBERS }, (_, at) => at / 7 - 5);
  const { bytes, turns } = await write(values, 'f32');
  t.ok(bytes.equals(Buffer.from(values.buffer)));
  t.equal(turns, 2, 'other things may be done between two graphs');
  t.ok((await write(values, 'bf16')).bytes.equals(Buffer.from(toBf16Bits(values).buffer)));
});

test('a number that is not finite, or is not once it is rounded, is refused with its tensor', async (t) => {
  const tensors = loraTensors(LAYOUT);
  let from = 0;
  for (const { name, shape } of tensors) {
    const values = new Float32Array(NUMBERS).fill(0.5);
    values[from + 3] = 70_000;
    await t.rejects(write(values, 'f16'), {
      code: 'adapter-not-finite',
      message: `${name} holds a number beyond the range of f16.`,
    });
    t.equal((await write(values, 'bf16')).bytes.length, 2 * NUMBERS);
    values[from + 5] = Number.NaN;
    for (const dtype of ['f32', 'bf16'] as const) {
      await t.rejects(write(values, dtype), {
        code: 'adapter-not-finite',
        message: `${name} holds a number that is not finite.`,
      });
    }
    from += shape[0] * shape[1];
  }
  t.equal(from, NUMBERS);
});

/** Small adapters in memory, and what they do as dense matrices. */
import { Matrix } from 'ml-matrix';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import type { PeftFiles } from '../../src/adapter/peft-files.ts';
import { loraScale, parsePeftConfig } from '../../src/adapter/read-peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { parseSafetensorsHeader } from '../../src/adapter/safetensors-header.ts';
import { decodeTensor } from '../../src/adapter/tensor-bytes.ts';
import type { Transformed } from '../../src/arithmetic/transform.ts';
import type { Dtype } from '../../src/base/dtype.ts';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import { loraTensors } from '../../src/lora/tensors.ts';

/** A base of two layers with modules of several widths. */
export const layout = {
  rank: 4,
  alpha: 8,
  chunkWidth: 2,
  layers: 2,
  layerPath: 'model.layers',
  modules: [
    { path: 'self_attn.q_proj', in: 24, out: 24 },
    { path: 'self_attn.v_proj', in: 24, out: 10 },
    { path: 'mlp.down_proj', in: 40, out: 24 },
  ],
};

export type MemoryAdapter = PeftFiles & { readonly bytes: Uint8Array };

export function inMemory(bytes: Uint8Array, config: Uint8Array): MemoryAdapter {
  return {
    bytes,
    config,
    weightBytes: bytes.length,
    async openWeights() {
      return pieces(bytes);
    },
  };
}

/** In pieces that no tensor ends with. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += 1001) yield bytes.subarray(start, start + 1001);
}

/** Random numbers, the same for a seed; `spread` lets the modules differ in size. */
export async function randomAdapter(
  seed: number,
  options: {
    dtype?: Dtype;
    rank?: number;
    alpha?: number;
    base?: string;
    value?: (value: number) => number;
  } = {},
): Promise<MemoryAdapter> {
  const {
    dtype = 'bf16',
    rank = layout.rank,
    alpha = layout.alpha,
    base = 'org/base',
    value = (v) => v,
  } = options;
  const random = seededRandom(seed);
  const own = { ...layout, rank, alpha };
  const tensors = loraTensors(own);
  const matrices = tensors.map(({ shape, layer }) => {
    const values = new Float32Array(shape[0] * shape[1]);
    fillUniform(random, values, 0.3 * (layer + 1));
    return values.map(value);
  });
  const bytes = await collect(writeSafetensors(tensors, matrices, { dtype }));
  return inMemory(bytes, peftConfig({ id: base }, own));
}

export async function collect(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(part);
  return Buffer.concat(parts);
}

export async function made(transformed: Transformed): Promise<MemoryAdapter> {
  return inMemory(await collect(transformed.weights()), transformed.config);
}

/** ΔW of each module, dense. */
export function dense({ bytes, config }: MemoryAdapter): Map<string, Matrix> {
  const peft = parsePeftConfig(config);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const { tensors } = parseSafetensorsHeader(bytes.subarray(8, 8 + length), bytes.length - 8 - length);
  const matrices = new Map(
    tensors.map(({ name, start, bytes: size, dtype, shape }) => [
      name,
      Matrix.from1DArray(
        shape[0]!,
        shape[1]!,
        Float64Array.from(decodeTensor(name, bytes.subarray(start, start + size), dtype)),
      ),
    ]),
  );
  const deltas = new Map<string, Matrix>();
  for (const [name, b] of matrices) {
    if (!name.endsWith('.lora_B.weight')) continue;
    const path = name.slice(0, -'.lora_B.weight'.length);
    deltas.set(path, b.mmul(matrices.get(`${path}.lora_A.weight`)!).mul(loraScale(peft)));
  }
  return deltas;
}

/** Largest difference, as a share of the largest number. */
export function difference(a: Matrix, b: Matrix): number {
  const largest = Math.max(a.max(), -a.min(), Number.MIN_VALUE);
  const rest = Matrix.sub(a, b);
  return Math.max(rest.max(), -rest.min()) / largest;
}

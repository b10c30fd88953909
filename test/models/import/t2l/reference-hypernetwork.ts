/**
 * The hypernetwork of Text-to-LoRA once more, in float64 and by direct loops over its equations, one row at a time: slow, plain
 * and independent of everything in src, so that agreement between the two means something.
 */
import type { Numbers } from '../../reference-decoder.ts';

/** A hypernetwork to evaluate. */
export type ReferenceHypernetwork = {
  readonly tensors: ReadonlyMap<string, Numbers>;
  readonly layers: number;
  readonly rank: number;
  /** In the order of the rows of the module embedding. */
  readonly modules: readonly { readonly name: string; readonly in: number; readonly out: number }[];
  readonly task: 'sft' | 'recon';
  readonly factorized?: boolean;
  readonly scores?: boolean;
  readonly scaling?: number;
  readonly shared?: boolean;
};

/** `<module>.A` `[layers, r, in]` and `<module>.B` `[layers, out, r]` for the hidden state of a description's first token. */
export function referenceMatrices(
  network: ReferenceHypernetwork,
  hidden: ArrayLike<number>,
): Map<string, Float64Array> {
  const { tensors, layers, rank, modules, shared = false } = network;
  const of = (name: string): Numbers => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`There is no tensor ${name}.`);
    return tensor;
  };
  const row = (name: string, index: number) => {
    const { shape, values } = of(name);
    const width = shape[1]!;
    return Array.from({ length: width }, (_, i) => values[index * width + i]!);
  };
  const linear = (name: string, x: readonly number[]) => {
    const { shape, values } = of(`${name}.weight`);
    const [rows, columns] = shape as [number, number];
    const bias = tensors.get(`${name}.bias`)?.values;
    return Array.from({ length: rows }, (_, i) => {
      let sum = bias ? bias[i]! : 0;
      for (let j = 0; j < columns; j++) sum += values[i * columns + j]! * x[j]!;
      return sum;
    });
  };
  const norm = (name: string, x: readonly number[]) => {
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
    const { values: weight } = of(`${name}.weight`);
    const { values: bias } = of(`${name}.bias`);
    return x.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[i]! + bias[i]!);
  };
  const silu = (x: readonly number[]) => x.map((value) => value / (1 + Math.exp(-value)));
  const add = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value + b[i]!);
  const block = (name: string, x: readonly number[]) =>
    silu(linear(`${name}.4`, silu(linear(`${name}.1`, x))));
  const residual = (name: string, x: readonly number[]) =>
    add(x, block(`${name}.mlp`, norm(`${name}.mlp.0`, x)));

  const x = Array.from(hidden);
  const length = Math.max(Math.sqrt(x.reduce((sum, value) => sum + value * value, 0)), 1e-12);
  const embedding = x.map((value) => (value / length) * Math.sqrt(x.length));
  const task = norm('task_encoder.mlp.1', linear('task_encoder.mlp.0', embedding));
  const made = new Map<string, Float64Array>();
  modules.forEach((module, index) => {
    const { name, in: columns, out } = module;
    const a = new Float64Array(layers * rank * columns);
    const b = new Float64Array(layers * out * rank);
    const type = norm('layer_type_encoder.1', row('layer_type_encoder.0.weight', index));
    for (let layer = 0; layer < layers; layer++) {
      const depth = norm('layer_depth_encoder.1', row('layer_depth_encoder.0.weight', layer));
      const mixed = residual('mlp1', block('mixer', [...task, ...depth, ...type]));
      const head = (from: readonly number[]) =>
        linear(`heads.${name}`, block('mlp3', norm('mlp3.0', residual('mlp2', from))));
      const told = (side: 'A' | 'B') =>
        add(mixed, norm('out_emb_norm', Array.from(of(`out_emb.${name}.${side}`).values)));
      const widest = Math.max(columns, out);
      const whole = shared ? undefined : head(mixed);
      const fromA = shared ? head(told('A')) : whole!;
      const fromB = shared ? head(told('B')) : whole!.slice(rank * columns);
      for (let k = 0; k < rank; k++) {
        for (let i = 0; i < columns; i++) {
          a[(layer * rank + k) * columns + i] = fromA[k * (shared ? widest : columns) + i]!;
        }
        for (let j = 0; j < out; j++) {
          b[(layer * out + j) * rank + k] = fromB[k * (shared ? widest : out) + j]!;
        }
      }
    }
    made.set(`${name}.A`, onScale(network, `A.${name}`, a));
    made.set(`${name}.B`, onScale(network, `B.${name}`, b));
  });
  return made;
}

function onScale(network: ReferenceHypernetwork, key: string, raw: Float64Array): Float64Array {
  const { tensors, task, factorized = false, scores = false, scaling = 10_000 } = network;
  if (task === 'recon' && !factorized) return raw.map((value) => value / Math.sqrt(scaling));
  const at = (name: string, i: number) => tensors.get(`${name}.${key}`)?.values[i] ?? 0;
  return raw.map((value, i) => {
    const placed =
      task === 'recon' && scores
        ? value * (at('std_recon_target', i) + 1e-10) + at('mean_recon_target', i)
        : value;
    return placed + at('AB_offset', i);
  });
}

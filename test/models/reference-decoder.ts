/**
 * The decoder once more, in float64 and by direct loops over spec §2 and §1.4: slow, plain and independent of everything
 * in src, so that agreement between the two means something.
 */

/** A tensor of a state dict. */
export type Numbers = { readonly shape: readonly number[]; readonly values: ArrayLike<number> };

/** The decoder to evaluate: features before and after each layer, side of the kernels, tensors under published names. */
export type ReferenceDecoder = {
  readonly features: readonly (readonly [number, number, number])[];
  readonly kernel: number;
  readonly tensors: ReadonlyMap<string, Numbers>;
};

/** Evaluates the decoder for one condition `[N, Lt, C]` and yields its output token by token, each `[H, W]`. */
export function* referenceTokens(
  decoder: ReferenceDecoder,
  condition: ArrayLike<number>,
): Generator<Float64Array> {
  const { features } = decoder;
  let x = project(decoder, Float64Array.from(condition));
  for (let layer = 0; layer < features.length - 2; layer++) {
    const rows = [...evaluateLayer(decoder, layer, x)];
    const next = new Float64Array(rows.length * rows[0]!.length);
    rows.forEach((row, at) => {
      next.set(row, at * row.length);
    });
    x = next;
  }
  yield* evaluateLayer(decoder, features.length - 2, x);
}

/** Spec §1.4: each prompt's numbers reinterpreted as [C, L], two affine maps along L, reinterpreted as [M, C]. */
export function project({ features, tensors }: ReferenceDecoder, x: Float64Array): Float64Array {
  const down = tensors.get('down_proj.weight');
  if (!down) return x;
  const [n, , c] = features[0]!;
  const [m, l] = down.shape as [number, number];
  const downBias = tensors.get('down_proj.bias')!.values;
  const gate = tensors.get('gate_proj.weight')!.values;
  const gateBias = tensors.get('gate_proj.bias')!.values;
  const y = new Float64Array(n * m * c);
  for (let row = 0; row < n * c; row++) {
    const between = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      let sum = downBias[i]!;
      for (let j = 0; j < l; j++) sum += x[row * l + j]! * down.values[i * l + j]!;
      between[i] = sum;
    }
    for (let i = 0; i < m; i++) {
      let sum = gateBias[i]!;
      for (let j = 0; j < m; j++) sum += between[j]! * gate[i * m + j]!;
      y[row * m + i] = sum;
    }
  }
  return y;
}

/** Spec §2.1 and §2.2 for one layer; yields the output channel by channel. */
function* evaluateLayer(
  { features, kernel, tensors }: ReferenceDecoder,
  layer: number,
  x: Float64Array,
): Generator<Float64Array> {
  const [n, l, c] = features[layer]!;
  const [n2, l2, c2] = features[layer + 1]!;
  const tensor = (name: string) => tensors.get(`model.decoder.module_list.${layer}.${name}`)!.values;

  const y = new Float64Array(x.length);
  for (let prompt = 0; prompt < n; prompt++) {
    const at = prompt * l * c;
    let mean = 0;
    for (let i = 0; i < l * c; i++) mean += x[at + i]! / (l * c);
    let variance = 0;
    for (let i = 0; i < l * c; i++) variance += (x[at + i]! - mean) ** 2 / (l * c);
    for (let i = 0; i < l * c; i++) {
      const standard = (x[at + i]! - mean) / Math.sqrt(variance + 1e-5);
      y[at + i] = standard * tensor('linear1.norm.weight')[i]! + tensor('linear1.norm.bias')[i]!;
    }
  }

  const convolve = (input: Float64Array, into: number, from: number, a: number, b: number, name: string) => {
    const output = new Float64Array(into * a * b);
    for (let channel = 0; channel < into; channel++) {
      output.set(convolveChannel(input, from, a, b, tensor(name), kernel, channel), channel * a * b);
    }
    return output;
  };
  // Branch W: [C, L, N] → [C', L, N] → [L, N, C'] → [L', N, C'] → [N, L', C'].
  const w1 = convolve(permute(y, [n, l, c], [2, 1, 0]), c2, c, l, n, 'linear1.conv1w.weight');
  const w2 = convolve(permute(w1, [c2, l, n], [1, 2, 0]), l2, l, n, c2, 'linear1.conv1h.weight');
  const w = permute(w2, [l2, n, c2], [1, 0, 2]);
  // Branch H: [L, N, C] → [L', N, C] → [C, L', N] → [C', L', N] → [N, L', C'].
  const h1 = convolve(permute(y, [n, l, c], [1, 0, 2]), l2, l, n, c, 'linear1.conv2h.weight');
  const h2 = convolve(permute(h1, [l2, n, c], [2, 0, 1]), c2, c, l2, n, 'linear1.conv2w.weight');
  const h = permute(h2, [c2, l2, n], [2, 1, 0]);

  const u = new Float64Array(n * l2 * c2);
  for (let i = 0; i < u.length; i++) {
    u[i] = (w[i]! + Math.tanh(h[i]!) + tensor('linear1.bias')[i % (l2 * c2)]!) / 3;
  }
  const [fuse, fuseBias] = [tensor('linear2.weight'), tensor('linear2.bias')];
  const keepsShape = n === n2 && l === l2 && c === c2;
  for (let channel = 0; channel < n2; channel++) {
    const out = convolveChannel(u, n, l2, c2, fuse, kernel, channel);
    for (let i = 0; i < out.length; i++) {
      out[i]! += fuseBias[channel]! + (keepsShape ? x[channel * l2 * c2 + i]! : 0);
    }
    yield out;
  }
}

/** Axes of a row-major array put in another order: axis i of the result is axis order[i] of the input. */
function permute(
  input: Float64Array,
  [d0, d1, d2]: readonly [number, number, number],
  order: readonly [number, number, number],
): Float64Array {
  const sides = [d0, d1, d2];
  const output = new Float64Array(input.length);
  const at = [0, 0, 0];
  let next = 0;
  for (at[order[0]] = 0; at[order[0]]! < sides[order[0]]!; at[order[0]]!++) {
    for (at[order[1]] = 0; at[order[1]]! < sides[order[1]]!; at[order[1]]!++) {
      for (at[order[2]] = 0; at[order[2]]! < sides[order[2]]!; at[order[2]]!++) {
        output[next++] = input[(at[0]! * d1 + at[1]!) * d2 + at[2]!]!;
      }
    }
  }
  return output;
}

/** One output channel of a cross-correlation, zero padding, stride 1: input `[from, a, b]`, kernel `[into, from, k, k]`. */
function convolveChannel(
  input: Float64Array,
  from: number,
  a: number,
  b: number,
  weights: ArrayLike<number>,
  k: number,
  channel: number,
): Float64Array {
  const p = (k - 1) / 2;
  const output = new Float64Array(a * b);
  for (let source = 0; source < from; source++) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        const weight = weights[((channel * from + source) * k + i) * k + j]!;
        // Output cells whose tap (i, j) falls inside the input; the others meet the zero padding.
        for (let row = Math.max(0, p - i); row < Math.min(a, a + p - i); row++) {
          const inputRow = (source * a + row + i - p) * b;
          for (let column = Math.max(0, p - j); column < Math.min(b, b + p - j); column++) {
            output[row * b + column]! += weight * input[inputRow + column + j - p]!;
          }
        }
      }
    }
  }
  return output;
}

/**
 * A Llama of a few thousand random numbers: as a GGUF file, and as plain arithmetic in float64. The weights are drawn in the
 * layout of transformers (rotary pairs are j and j + half of a head), the arithmetic follows it, and the file has the rows
 * of q and k where llama.cpp wants them.
 */
import { writeFile } from 'node:fs/promises';
import { indexedRandom } from '../../src/base/random.ts';
import { layoutForBase } from '../../src/lora/bases.ts';
import { loraTensors } from '../../src/lora/tensors.ts';

const HIDDEN = 32;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD = 8;
const FFN = 64;
const LAYERS = 2;
const EPSILON = 1e-5;
const ROPE_BASE = 10_000;
const CONTEXT = 512;

/** What an adapter has to fit. */
export const TINY_BASE = {
  architecture: 'llama',
  layers: LAYERS,
  hidden: HIDDEN,
  ffn: FFN,
  heads: HEADS,
  kvHeads: KV_HEADS,
  keyWidth: HEAD,
  valueWidth: HEAD,
};
/** The layout of adapters for it. */
export const TINY_LAYOUT = layoutForBase({
  layers: LAYERS,
  hidden: HIDDEN,
  kv: KV_HEADS * HEAD,
  ffn: FFN,
  rank: 4,
  alpha: 8,
});

/** Special tokens, then one token a byte, then the only merge. */
export const TINY_TOKENS = { unknown: 0, start: 1, end: 2, firstByte: 3 } as const;
export const TINY_TEMPLATE =
  "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe tiny.<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** The characters that byte-level BPE writes bytes as. */
function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let extra = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : extra++));
}
const VOCABULARY = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', ...byteCharacters(), 'he'];

/** `[out, in]` row-major. */
type Weights = ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;

const WIDTHS: Readonly<Record<string, readonly [number, number]>> = {
  'self_attn.q_proj': [HEADS * HEAD, HIDDEN],
  'self_attn.k_proj': [KV_HEADS * HEAD, HIDDEN],
  'self_attn.v_proj': [KV_HEADS * HEAD, HIDDEN],
  'self_attn.o_proj': [HIDDEN, HEADS * HEAD],
  'mlp.gate_proj': [FFN, HIDDEN],
  'mlp.up_proj': [FFN, HIDDEN],
  'mlp.down_proj': [HIDDEN, FFN],
};

/** The weights of a seed, by their names in transformers. */
export function tinyWeights(seed: number): Weights {
  const weights = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  const draw = (name: string, shape: readonly number[], deviation: number, mean = 0) => {
    const values = new Float32Array(shape.reduce((product, side) => product * side, 1));
    indexedRandom(seed, name).fill(values, 0, deviation);
    weights.set(name, { shape, values: values.map((value) => value + mean) });
  };
  draw('embed', [VOCABULARY.length, HIDDEN], 0.5);
  draw('norm', [HIDDEN], 0.1, 1);
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const [path, shape] of Object.entries(WIDTHS))
      draw(`${layer}.${path}`, shape, 1 / Math.sqrt(shape[1]));
    draw(`${layer}.input_norm`, [HIDDEN], 0.1, 1);
    draw(`${layer}.ffn_norm`, [HIDDEN], 0.1, 1);
  }
  return weights;
}

/** LoRA matrices of a seed, in the order of `loraTensors(TINY_LAYOUT)`. */
export function tinyAdapter(seed: number): Float32Array[] {
  return loraTensors(TINY_LAYOUT).map(({ name, shape }) => {
    const values = new Float32Array(shape[0] * shape[1]);
    indexedRandom(seed, name).fill(values, 0, 0.2);
    return values;
  });
}

/** The weights with W + (alpha / rank) · B · A in place of each W that has a pair. */
export function withAdapter(weights: Weights, matrices: readonly Float32Array[]): Weights {
  const out = new Map(weights);
  const tensors = loraTensors(TINY_LAYOUT);
  const { rank, alpha } = TINY_LAYOUT;
  for (const [index, a] of tensors.entries()) {
    if (a.side !== 'A') continue;
    const b = tensors.findIndex(
      ({ layer, module, side }) => layer === a.layer && module.path === a.module.path && side === 'B',
    );
    const key = `${a.layer}.${a.module.path}`;
    const { shape, values } = out.get(key)!;
    const sum = values.slice();
    for (let row = 0; row < a.module.out; row++) {
      for (let column = 0; column < a.module.in; column++) {
        let product = 0;
        for (let k = 0; k < rank; k++) {
          product += matrices[b]![row * rank + k]! * matrices[index]![k * a.module.in + column]!;
        }
        sum[row * a.module.in + column]! += (alpha / rank) * product;
      }
    }
    out.set(key, { shape, values: sum });
  }
  return out;
}

function multiply({ shape, values }: { shape: readonly number[]; values: Float32Array }, x: Float64Array) {
  const [rows, columns] = shape as [number, number];
  const out = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      out[row]! += values[row * columns + column]! * x[column]!;
  }
  return out;
}

function normalised(x: Float64Array, { values }: { values: Float32Array }) {
  const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + EPSILON);
  return x.map((value, i) => value * scale * values[i]!);
}

/** Turns number j of each head with number j + half, as transformers does. */
function rotated(x: Float64Array, position: number) {
  const half = HEAD / 2;
  const out = new Float64Array(x.length);
  for (let head = 0; head < x.length; head += HEAD) {
    for (let j = 0; j < half; j++) {
      const angle = position * ROPE_BASE ** (-j / half);
      const [a, b] = [x[head + j]!, x[head + half + j]!];
      out[head + j] = a * Math.cos(angle) - b * Math.sin(angle);
      out[head + half + j] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return out;
}

/** The logits after every token. */
export function tinyLogits(weights: Weights, tokens: readonly number[]): Float64Array[] {
  const weight = (name: string) => weights.get(name)!;
  const embed = weight('embed');
  let states = tokens.map((token) =>
    Float64Array.from(embed.values.subarray(token * HIDDEN, (token + 1) * HIDDEN)),
  );
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = (name: string) => weight(`${layer}.${name}`);
    const inputs = states.map((state) => normalised(state, at('input_norm')));
    const queries = inputs.map((x, position) => rotated(multiply(at('self_attn.q_proj'), x), position));
    const keys = inputs.map((x, position) => rotated(multiply(at('self_attn.k_proj'), x), position));
    const values = inputs.map((x) => multiply(at('self_attn.v_proj'), x));
    states = states.map((state, position) => {
      const mixed = new Float64Array(HEADS * HEAD);
      for (let head = 0; head < HEADS; head++) {
        const kv = Math.floor(head / (HEADS / KV_HEADS)) * HEAD;
        const weightsOf = Array.from({ length: position + 1 }, (_, other) => {
          let dot = 0;
          for (let i = 0; i < HEAD; i++) dot += queries[position]![head * HEAD + i]! * keys[other]![kv + i]!;
          return Math.exp(dot / Math.sqrt(HEAD));
        });
        const total = weightsOf.reduce((sum, value) => sum + value, 0);
        for (const [other, share] of weightsOf.entries()) {
          for (let i = 0; i < HEAD; i++) mixed[head * HEAD + i]! += (share / total) * values[other]![kv + i]!;
        }
      }
      const attended = multiply(at('self_attn.o_proj'), mixed).map((value, i) => value + state[i]!);
      const x = normalised(attended, at('ffn_norm'));
      const gate = multiply(at('mlp.gate_proj'), x).map((value) => value / (1 + Math.exp(-value)));
      const up = multiply(at('mlp.up_proj'), x);
      return multiply(
        at('mlp.down_proj'),
        gate.map((value, i) => value * up[i]!),
      ).map((value, i) => value + attended[i]!);
    });
  }
  return states.map((state) => multiply(embed, normalised(state, weight('norm'))));
}

/** Natural log-likelihood of each answer token after the prompt. */
export function tinyLogLikelihoods(weights: Weights, prompt: readonly number[], answer: readonly number[]) {
  const logits = tinyLogits(weights, [...prompt, ...answer]);
  return answer.map((token, index) => {
    const row = logits[prompt.length + index - 1]!;
    const most = Math.max(...row);
    return row[token]! - most - Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0));
  });
}

type Value = string | { u32: number } | { f32: number } | { strings: string[] } | { ints: number[] };
type FileTensor = { readonly name: string; readonly shape: readonly number[]; readonly values: Float32Array };

/** The bytes of a GGUF file; `metadata` overrides or, with undefined, leaves out what a tiny Llama has. */
export function tinyGguf(
  weights: Weights,
  metadata: Readonly<Record<string, Value | undefined>> = {},
): Buffer {
  const entries: Readonly<Record<string, Value | undefined>> = {
    'general.architecture': 'llama',
    'general.type': 'model',
    'general.name': 'tiny',
    'llama.block_count': { u32: LAYERS },
    'llama.context_length': { u32: CONTEXT },
    'llama.embedding_length': { u32: HIDDEN },
    'llama.feed_forward_length': { u32: FFN },
    'llama.attention.head_count': { u32: HEADS },
    'llama.attention.head_count_kv': { u32: KV_HEADS },
    'llama.attention.layer_norm_rms_epsilon': { f32: EPSILON },
    'llama.rope.freq_base': { f32: ROPE_BASE },
    'llama.rope.dimension_count': { u32: HEAD },
    'llama.vocab_size': { u32: VOCABULARY.length },
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'smollm',
    'tokenizer.ggml.tokens': { strings: VOCABULARY },
    'tokenizer.ggml.token_type': { ints: VOCABULARY.map((_, id) => (id < TINY_TOKENS.firstByte ? 3 : 1)) },
    'tokenizer.ggml.merges': { strings: ['h e'] },
    'tokenizer.ggml.bos_token_id': { u32: TINY_TOKENS.start },
    'tokenizer.ggml.eos_token_id': { u32: TINY_TOKENS.end },
    'tokenizer.ggml.unknown_token_id': { u32: TINY_TOKENS.unknown },
    'tokenizer.chat_template': TINY_TEMPLATE,
    ...metadata,
  };
  const names: Readonly<Record<string, string>> = {
    'self_attn.q_proj': 'attn_q',
    'self_attn.k_proj': 'attn_k',
    'self_attn.v_proj': 'attn_v',
    'self_attn.o_proj': 'attn_output',
    'mlp.gate_proj': 'ffn_gate',
    'mlp.up_proj': 'ffn_up',
    'mlp.down_proj': 'ffn_down',
    input_norm: 'attn_norm',
    ffn_norm: 'ffn_norm',
  };
  const tensors: FileTensor[] = [...weights].map(([name, { shape, values }]) => {
    if (name === 'embed') return { name: 'token_embd.weight', shape, values };
    if (name === 'norm') return { name: 'output_norm.weight', shape, values };
    const [, layer, path] = /^(\d+)\.(.*)$/.exec(name)!;
    const turned = /[qk]_proj$/.test(name) ? interleaved(values, shape) : values;
    return { name: `blk.${layer}.${names[path!]}.weight`, shape, values: turned };
  });

  const parts: Buffer[] = [];
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    parts.push(bytes);
  };
  const u64 = (value: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    parts.push(bytes);
  };
  const text = (value: string) => {
    u64(Buffer.byteLength(value));
    parts.push(Buffer.from(value));
  };
  const present = Object.entries(entries).filter((entry): entry is [string, Value] => entry[1] !== undefined);
  parts.push(Buffer.from('GGUF'));
  u32(3);
  u64(tensors.length);
  u64(present.length);
  for (const [key, value] of present) {
    text(key);
    if (typeof value === 'string') {
      u32(8);
      text(value);
    } else if ('u32' in value) {
      u32(4);
      u32(value.u32);
    } else if ('f32' in value) {
      u32(6);
      parts.push(Buffer.from(new Float32Array([value.f32]).buffer));
    } else if ('strings' in value) {
      u32(9);
      u32(8);
      u64(value.strings.length);
      for (const string of value.strings) text(string);
    } else {
      u32(9);
      u32(5);
      u64(value.ints.length);
      for (const int of value.ints) u32(int);
    }
  }
  const padded = (bytes: number) => Math.ceil(bytes / 32) * 32;
  let offset = 0;
  for (const { name, shape, values } of tensors) {
    text(name);
    u32(shape.length);
    for (const side of shape.toReversed()) u64(side);
    u32(0);
    u64(offset);
    offset += padded(values.byteLength);
  }
  const head = Buffer.concat(parts);
  const data = tensors.map(({ values }) =>
    Buffer.concat([Buffer.from(values.buffer)], padded(values.byteLength)),
  );
  return Buffer.concat([Buffer.concat([head], padded(head.length)), ...data]);
}

/** Row `2j + s` of each head from row `s · half + j`. */
function interleaved(values: Float32Array, [rows, columns]: readonly number[]) {
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows!; row++) {
    const [head, within] = [row - (row % HEAD), row % HEAD];
    const from = head + (within % 2) * (HEAD / 2) + Math.floor(within / 2);
    out.set(values.subarray(from * columns!, (from + 1) * columns!), row * columns!);
  }
  return out;
}

/** Writes {@link tinyGguf}. */
export async function writeTinyGguf(
  path: string,
  weights: Weights,
  metadata: Readonly<Record<string, Value | undefined>> = {},
): Promise<void> {
  await writeFile(path, tinyGguf(weights, metadata));
}

/** What the metadata of a GGUF base says, as far as an evaluation needs it. */
import type { GgufBase } from '../base/gguf-base.ts';
import { evaluationErrors } from './errors.ts';

/** Dimensions and chat template of a base. */
export type BaseFacts = GgufBase & {
  /** Tokens it was trained to see at once. */
  readonly contextTokens: number;
  readonly chatTemplate: string;
  /** The texts of the tokens that templates may name. */
  readonly bosToken: string;
  readonly eosToken: string;
};

/** Longest chat template; the longest published ones have about 20,000 characters. */
const MAX_TEMPLATE_CHARS = 1 << 20;
/** Largest count or width that is believed: beyond every model there is. */
const MAX_COUNT = 1 << 24;

/** The facts in nested metadata as a GGUF file has it. Errors: `base-model-unusable` naming the missing entry. */
export function readBaseFacts(metadata: unknown): BaseFacts {
  const type = entry(metadata, 'general.type');
  if (type !== undefined && type !== 'model') {
    throw evaluationErrors.base('The file is not a model: its general.type is another.');
  }
  const architecture = entry(metadata, 'general.architecture');
  if (typeof architecture !== 'string' || !/^[a-z0-9_-]{1,64}$/.test(architecture)) {
    throw evaluationErrors.base('Its metadata names no architecture.');
  }
  const count = (name: string, fallback?: number): number => {
    const value = entry(metadata, `${architecture}.${name}`) ?? fallback;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > MAX_COUNT) {
      throw evaluationErrors.base(`Its metadata has no usable number ${architecture}.${name}.`);
    }
    return value as number;
  };
  const hidden = count('embedding_length');
  const heads = count('attention.head_count');
  const chatTemplate = entry(metadata, 'tokenizer.chat_template');
  if (typeof chatTemplate !== 'string' || chatTemplate.length > MAX_TEMPLATE_CHARS) {
    throw evaluationErrors.base(
      'It has no chat template (tokenizer.chat_template): only chat models can be asked.',
    );
  }
  const token = (name: string) => tokenText(metadata, `tokenizer.ggml.${name}_token_id`);
  return {
    architecture,
    layers: count('block_count'),
    hidden,
    ffn: count('feed_forward_length'),
    heads,
    // What is left out is equal, by the format's definition.
    kvHeads: count('attention.head_count_kv', heads),
    keyWidth: count('attention.key_length', hidden / heads),
    valueWidth: count('attention.value_length', hidden / heads),
    contextTokens: count('context_length'),
    chatTemplate,
    bosToken: token('bos'),
    eosToken: token('eos'),
  };
}

function entry(metadata: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (value, key) =>
        value !== null && typeof value === 'object' && Object.hasOwn(value, key)
          ? (value as Record<string, unknown>)[key]
          : undefined,
      metadata,
    );
}

function tokenText(metadata: unknown, path: string): string {
  const id = entry(metadata, path);
  const tokens = entry(metadata, 'tokenizer.ggml.tokens');
  const text: unknown = Array.isArray(tokens) && typeof id === 'number' ? tokens[id] : undefined;
  return typeof text === 'string' ? text : '';
}

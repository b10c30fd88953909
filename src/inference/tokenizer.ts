/** Prompt text → token ids, exactly as long as the condition wants them. */
import { readFile, stat } from 'node:fs/promises';
import { Tokenizer } from '@huggingface/tokenizers';
import { inferenceErrors } from './errors.ts';
import { runtimeReason } from './runtime-reason.ts';

/** A prompt as the encoder sees it. */
export type TokenizedPrompt = {
  /** Lt token ids, padded on the right. */
  readonly ids: Int32Array;
  /** How many of them are tokens of the prompt (mask 1); the rest is padding (mask 0). */
  readonly length: number;
};

/** Largest tokenizer.json that is read; vocabularies of 250,000 pieces take 17 MB. */
const MAX_TOKENIZER_BYTES = 64 << 20;

/**
 * Ideographs outside the basic plane (CJK extensions B–E and the compatibility supplement). BERT sets every ideograph apart
 * with spaces, and the tokenizer library, which looks at UTF-16 units, misses these.
 */
const SUPPLEMENTARY_IDEOGRAPHS = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/**
 * Opens a `tokenizer.json` for prompts of exactly `tokens` ids (Lt). Truncation and padding blocks of the file are ignored
 * (spec §1.2): text is cut so that the special tokens around it still fit (for BERT the last one stays `[SEP]`), and padded
 * on the right with `padTokenId`. Errors: `bundle-unloadable`.
 */
export async function openTokenizer(
  path: string,
  options: { tokens: number; padTokenId: number },
): Promise<(text: string) => TokenizedPrompt> {
  const { tokens, padTokenId } = options;
  const refuse = (reason: string, cause?: unknown) =>
    inferenceErrors.unloadable(`The tokenizer cannot be used: ${reason}.`, { cause });
  if ((await stat(path)).size > MAX_TOKENIZER_BYTES)
    throw refuse(`it is larger than ${MAX_TOKENIZER_BYTES} bytes`);
  let tokenizer: Tokenizer;
  let separateIdeographs: boolean;
  let surround: { before: number[]; after: number[] } | undefined;
  try {
    const json = JSON.parse(await readFile(path, 'utf8'));
    tokenizer = new Tokenizer(json, {});
    separateIdeographs =
      json.normalizer?.type === 'BertNormalizer' && json.normalizer.handle_chinese_chars !== false;
    surround = specialTokensAround(tokenizer);
  } catch (cause) {
    throw refuse(runtimeReason(cause), cause);
  }
  if (!surround) throw refuse('its special tokens do not simply stand before and after the text');
  const { before, after } = surround;
  const room = tokens - before.length - after.length;
  if (room < 1) throw refuse(`${tokens} tokens leave no room between its special tokens`);

  return (text) => {
    const spaced = separateIdeographs ? text.replace(SUPPLEMENTARY_IDEOGRAPHS, ' $& ') : text;
    const inner: number[] = tokenizer.encode(spaced, { add_special_tokens: false }).ids.slice(0, room);
    const ids = new Int32Array(tokens).fill(padTokenId);
    ids.set(before);
    ids.set(inner, before.length);
    ids.set(after, before.length + inner.length);
    return { ids, length: before.length + inner.length + after.length };
  };
}

/** The ids the tokenizer puts before and after any text, or undefined when it does something else with it. */
function specialTokensAround(tokenizer: Tokenizer): { before: number[]; after: number[] } | undefined {
  const probe = 'a b';
  const inner: number[] = tokenizer.encode(probe, { add_special_tokens: false }).ids;
  const whole: number[] = tokenizer.encode(probe).ids;
  for (let start = 0; start + inner.length <= whole.length; start++) {
    if (inner.every((id, index) => whole[start + index] === id)) {
      return { before: whole.slice(0, start), after: whole.slice(start + inner.length) };
    }
  }
  return undefined;
}

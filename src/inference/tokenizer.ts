/** Prompt text → token ids, exactly as long as the condition wants them. */
import { readFile, stat } from 'node:fs/promises';
import { createTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { inferenceErrors } from './errors.ts';
import { runtimeReason } from './runtime-reason.ts';

/** A prompt as the encoder sees it. */
export type TokenizedPrompt = {
  /** Lt token ids, padded on the right. */
  readonly ids: Int32Array;
  /** How many of them are tokens of the prompt (mask 1); the rest is padding (mask 0). */
  readonly length: number;
};

/** Makes token ids of prompts. */
export type PromptTokenizer = {
  /** Errors: `prompts-unusable` for half of a surrogate pair, which no token stands for. */
  readonly tokenize: (text: string) => TokenizedPrompt;
  /** The largest id that an encoder may be given. */
  readonly largestId: number;
};

/** Largest tokenizer.json that is read; vocabularies of 250,000 pieces take 17 MB. */
const MAX_TOKENIZER_BYTES = 64 << 20;

/**
 * Opens a `tokenizer.json` for prompts of exactly `tokens` ids (Lt). Truncation and padding blocks of the file are ignored
 * (spec §1.2): text is cut so that the special tokens around it still fit (for BERT the last one stays `[SEP]`), and padded
 * on the right with `padTokenId`. Errors: `bundle-unloadable`.
 */
export async function openTokenizer(
  path: string,
  options: { tokens: number; padTokenId: number },
): Promise<PromptTokenizer> {
  const { tokens, padTokenId } = options;
  const refuse = (reason: string, cause?: unknown) =>
    inferenceErrors.unloadable(`The tokenizer cannot be used: ${reason}.`, { cause });
  if ((await stat(path)).size > MAX_TOKENIZER_BYTES)
    throw refuse(`it is larger than ${MAX_TOKENIZER_BYTES} bytes`);
  let tokenizer: Tokenizer;
  try {
    tokenizer = createTokenizer(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw refuse(runtimeReason(cause), cause);
  }
  const { before, after } = tokenizer;
  const room = tokens - before.length - after.length;
  if (room < 1) throw refuse(`${tokens} tokens leave no room between its special tokens`);

  return {
    largestId: Math.max(tokenizer.largestId, padTokenId),
    tokenize(text) {
      if (!text.isWellFormed()) {
        throw inferenceErrors.badPrompts('A prompt holds half of a surrogate pair, which is no character.');
      }
      const inner = tokenizer.encode(text, room);
      const ids = new Int32Array(tokens).fill(padTokenId);
      ids.set(before);
      ids.set(inner, before.length);
      ids.set(after, before.length + inner.length);
      return { ids, length: before.length + inner.length + after.length };
    },
  };
}

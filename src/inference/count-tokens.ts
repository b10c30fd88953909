/** Counting the tokens of texts for a model's encoder, without running it. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextImmediate } from 'node:timers/promises';
import type { Bundle } from '../models/bundle.ts';
import { descriptionText } from '../models/description-text.ts';
import { createTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';

/** Tokens of a text with the special ones around it, and how many of them the encoder keeps. */
export type TokenCount = { readonly tokens: number; readonly kept: number };

/** Characters that are encoded between two looks at other work. */
const MAX_CHARS_AT_ONCE = 50_000;
/** Tokens up to which a text is counted, as a multiple of what the encoder keeps. */
const MOST_TIMES_KEPT = 16;

/**
 * Makes a counter that keeps the tokenizer of the bundle it was last asked about. It answers undefined for a bundle of
 * which only the manifest is here.
 */
export function createTokenCounter(): (
  bundle: Bundle,
  texts: readonly string[],
) => Promise<readonly TokenCount[] | undefined> {
  let last: { readonly digest: string; readonly tokenizer: Promise<Tokenizer | undefined> } | undefined;
  return async (bundle, texts) => {
    if (last?.digest !== bundle.digest) last = { digest: bundle.digest, tokenizer: open(bundle) };
    const tokenizer = await last.tokenizer;
    if (!tokenizer) return undefined;
    const { pooling, tokens: limit } = bundle.manifest.condition;
    const around = tokenizer.before.length + tokenizer.after.length;
    const counts: TokenCount[] = [];
    let chars = 0;
    for (const given of texts) {
      const text = pooling === 'first-token' ? descriptionText(given) : given;
      const tokens = tokenizer.encode(text, limit * MOST_TIMES_KEPT).length + around;
      counts.push({ tokens, kept: Math.min(tokens, limit) });
      chars += text.length;
      if (chars < MAX_CHARS_AT_ONCE) continue;
      chars = 0;
      await nextImmediate();
    }
    return counts;
  };
}

/** The registry has checked the files of a bundle; one that cannot be read all the same has no counts. */
async function open({ directory, manifest }: Bundle): Promise<Tokenizer | undefined> {
  const path = join(directory, manifest.tokenizer.file);
  if (!(await stat(path).catch(() => undefined))?.isFile()) return undefined;
  return createTokenizer(JSON.parse(await readFile(path, 'utf8')));
}

/** Prompts → conditions (spec §1.2–1.3): every distinct prompt encoded once, the rest looked up. */
import { sha256 } from '../base/digest.ts';
import type { ByteLru } from '../base/lru.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Encoder, Slice } from './encoder.ts';
import { inferenceErrors } from './errors.ts';
import type { TokenizedPrompt } from './tokenizer.ts';

/** What an embedding run is given besides the prompts. */
export type EmbedOptions = {
  readonly signal: AbortSignal;
  /** Lets the process do other things; awaited before every blocking piece of work. */
  readonly turn: () => Promise<void>;
  /** Called with 0…1, never falling. */
  readonly onProgress: (fraction: number) => void;
};

/** Embeddings of a set of prompts, ready to be put together. */
export type Embeddings = {
  /**
   * The condition `[1, N, Lt, C]` of these prompts, in this order; each must be of the embedded set. It is written into
   * `into` where that is given: memory that has been used before is filled several times as fast as new memory.
   */
  condition(prompts: readonly string[], into?: Float32Array): Float32Array;
  /** Of the distinct prompts among these: how many were in the cache, and how many went through the encoder. */
  sources(prompts: readonly string[]): { cached: number; encoded: number };
};

/** Makes conditions for one bundle. */
export type ConditionMaker = (prompts: Iterable<string>, options: EmbedOptions) => Promise<Embeddings>;

type KeyedSlice = Slice & { readonly key: string };

/**
 * Makes the {@link ConditionMaker} of a bundle. `cache` may be shared by bundles: keys hold the bundle's digest, the ids and
 * their number, which is all that a slice's numbers depend on.
 */
export function createConditionMaker(options: {
  bundle: Bundle;
  encoder: Encoder;
  tokenize: (text: string) => TokenizedPrompt;
  cache: ByteLru<Float32Array>;
}): ConditionMaker {
  const { bundle, encoder, tokenize, cache } = options;
  const { tokens, width } = bundle.manifest.condition;
  const { sliceTokens, maxSlices } = encoder;
  if (tokens % sliceTokens !== 0) {
    throw inferenceErrors.unloadable(
      `A prompt of ${tokens} tokens does not divide into slices of ${sliceTokens} (spec §1.3).`,
    );
  }
  const slicesPerPrompt = tokens / sliceTokens;
  const sliceFloats = sliceTokens * width;

  /** The slices of a prompt that hold at least one of its tokens; the others are all padding. */
  function slicesOf(prompt: TokenizedPrompt): KeyedSlice[] {
    return Array.from({ length: Math.ceil(prompt.length / sliceTokens) }, (_, index) => {
      const ids = prompt.ids.subarray(index * sliceTokens, (index + 1) * sliceTokens);
      const length = Math.min(sliceTokens, prompt.length - index * sliceTokens);
      const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
      return { ids, length, key: `${bundle.digest}/${length}/${sha256(bytes)}` };
    });
  }

  /** Slices that may be in one run: those with as many blocks of keys, where the encoder counts them. */
  function inRuns(queue: readonly KeyedSlice[]): KeyedSlice[][] {
    const { keyBlock } = bundle.manifest.encoder;
    const groups = keyBlock
      ? Map.groupBy(queue, ({ length }) => Math.ceil(length / keyBlock))
      : [[0, queue] as const];
    return [...groups].flatMap(([, slices]) =>
      Array.from({ length: Math.ceil(slices.length / maxSlices) }, (_, run) =>
        slices.slice(run * maxSlices, (run + 1) * maxSlices),
      ),
    );
  }

  return async (prompts, { signal, turn, onProgress }) => {
    const slices = new Map<string, readonly KeyedSlice[]>();
    const embedded = new Map<string, Float32Array>();
    const missing = new Map<string, KeyedSlice>();
    for (const prompt of new Set(prompts)) {
      await turn();
      signal.throwIfAborted();
      const own = slicesOf(tokenize(prompt));
      slices.set(prompt, own);
      for (const slice of own) {
        const known = cache.get(slice.key);
        if (known) embedded.set(slice.key, known);
        else missing.set(slice.key, slice);
      }
    }
    let done = 0;
    for (const batch of inRuns([...missing.values()])) {
      await turn();
      signal.throwIfAborted();
      onProgress(done / missing.size);
      done += batch.length;
      for (const [index, hidden] of (await encoder.encode(batch)).entries()) {
        embedded.set(batch[index]!.key, hidden);
        cache.set(batch[index]!.key, hidden, hidden.byteLength);
      }
    }
    onProgress(1);

    return {
      condition(wanted, condition = new Float32Array(wanted.length * tokens * width)) {
        for (const [index, prompt] of wanted.entries()) {
          const own = slices.get(prompt)!;
          for (let slice = 0; slice < slicesPerPrompt; slice++) {
            const hidden = slice < own.length ? embedded.get(own[slice]!.key)! : encoder.padded;
            condition.set(hidden, (index * slicesPerPrompt + slice) * sliceFloats);
          }
        }
        return condition;
      },
      sources(wanted) {
        const distinct = [...new Set(wanted)];
        const encoded = distinct.filter((prompt) => slices.get(prompt)!.some(({ key }) => missing.has(key)));
        return { cached: distinct.length - encoded.length, encoded: encoded.length };
      },
    };
  };
}

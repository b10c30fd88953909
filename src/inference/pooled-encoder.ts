/** The text encoder of a bundle whose condition is pooled: one text, unpadded → the hidden state of its first token. */

import { sha256 } from '../base/digest.ts';
import { LoradropError } from '../base/errors.ts';
import type { ByteLru } from '../base/lru.ts';
import type { Bundle } from '../models/bundle.ts';
import { descriptionText } from '../models/description-text.ts';
import type { ConditionMaker } from './conditions.ts';
import { allFinite } from './encoder.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { Tensor } from './onnx-runtime.ts';
import { openSession, runSession } from './session.ts';
import type { TokenizedPrompt } from './tokenizer.ts';

/** Tokens that the encoder is tried with when it is loaded: a full run of 8192 takes minutes of a CPU. */
const TRIED_TOKENS = 512;
/** An encoder that does not take so many is of no use, and something else is wrong with it. */
const FEWEST_TOKENS = 8;

/** A loaded encoder. */
export type PooledEncoder = {
  /** Most tokens of a text. */
  readonly mostTokens: number;
  /** The hidden state of the first position, `[width]`. Errors: `prompts-unusable` where it is not finite. */
  encode(ids: Int32Array): Promise<Float32Array>;
  /** Gives its memory back. */
  close(): Promise<void>;
};

/**
 * Loads the encoder and tries it with a text of {@link TRIED_TOKENS} tokens and with the largest id that the tokenizer makes.
 * Where that is more than it has positions for, which its files need not tell, the most that it takes is found out.
 * Texts of more than `tokenBudget` tokens are not taken: attention to all of them at once would not fit into memory. Errors:
 * `bundle-unloadable`.
 */
export async function openPooledEncoder(
  bundle: Bundle,
  device: Device,
  options: { tokenBudget: number; largestId?: number },
): Promise<PooledEncoder> {
  const { encoder, condition } = bundle.manifest;
  const { file, inputs, output } = encoder;
  const { width, padTokenId } = condition;
  // Exporters leave arithmetic on shapes in encoders, which ONNX Runtime does on the CPU beside any device.
  const session = await openSession(bundle, file, device);

  const run = async (ids: Int32Array): Promise<Float32Array> => {
    const shape = [1, ids.length];
    const integers = (values: BigInt64Array) => new Tensor('int64', values, shape);
    const feeds: Record<string, Tensor> = {
      [inputs.ids]: integers(BigInt64Array.from(ids, BigInt)),
      [inputs.mask]: integers(new BigInt64Array(ids.length).fill(1n)),
    };
    if (inputs.tokenTypes) feeds[inputs.tokenTypes] = integers(new BigInt64Array(ids.length));
    const { data, dims } = await runSession(session, feeds, { file, output });
    if (dims.join() !== `1,${ids.length},${width}`) {
      throw inferenceErrors.unloadable(
        `${file} gives [${dims.join(', ')}] instead of [1, ${ids.length}, ${width}].`,
      );
    }
    return data.slice(0, width);
  };
  const encode = async (ids: Int32Array) => {
    const hidden = await run(ids);
    if (!allFinite(hidden)) {
      throw inferenceErrors.badPrompts(`${file} gives numbers that are not finite for the text.`);
    }
    return hidden;
  };

  const wanted = Math.min(condition.tokens, options.tokenBudget);
  // A token that is not padding; ids 0 and 1 are in every vocabulary.
  const otherId = padTokenId === 0 ? 1 : 0;
  const textOf = (length: number) => new Int32Array(length).fill(otherId);
  const tried = Math.min(wanted, TRIED_TOKENS);
  const taken = await mostTaken(tried);
  const mostTokens = taken === tried ? wanted : taken;
  const { largestId } = options;
  if (largestId !== undefined) {
    await tryOne(
      Int32Array.of(otherId, largestId),
      `The tokenizer has tokens up to the id ${largestId}, for which the encoder has no embedding`,
    );
  }
  return { mostTokens, encode, close: () => session.release() };

  /** The most tokens up to `tried` that the encoder takes. Errors: `bundle-unloadable` where it hardly takes any. */
  async function mostTaken(length: number): Promise<number> {
    const takes = (count: number) =>
      encode(textOf(count)).then(
        () => true,
        (error: unknown) => {
          if (error instanceof LoradropError) return false;
          throw error;
        },
      );
    if (await takes(length)) return length;
    const fewest = Math.min(FEWEST_TOKENS, length);
    await tryOne(textOf(fewest), `${file} does not take a text of ${fewest} tokens`);
    let [most, tooMany] = [fewest, length];
    while (tooMany - most > 1) {
      const middle = (most + tooMany) >> 1;
      if (await takes(middle)) most = middle;
      else tooMany = middle;
    }
    return most;
  }

  async function tryOne(ids: Int32Array, complaint: string): Promise<void> {
    try {
      await encode(ids);
    } catch (cause) {
      if (!(cause instanceof LoradropError)) throw cause;
      throw inferenceErrors.unloadable(`${complaint} (${cause.message.replace(/\.$/, '')}).`, { cause });
    }
  }
}

/** What became of a text: its hidden state, or why it has none. */
type Embedded = { readonly hidden: Float32Array | LoradropError; readonly cached: boolean };

/**
 * Makes the {@link ConditionMaker} of a bundle whose condition is pooled: `[1, C]` of its one text, a description. A text that
 * cannot be used fails where its own condition is asked for, and not the others of the batch, which may be other people's.
 */
export function createPooledConditionMaker(options: {
  bundle: Bundle;
  encoder: PooledEncoder;
  tokenize: (text: string) => TokenizedPrompt;
  cache: ByteLru<Float32Array>;
}): ConditionMaker {
  const { bundle, encoder, tokenize, cache } = options;
  return async (texts, { signal, turn, onProgress }) => {
    const distinct = [...new Set(texts)];
    const embedded = new Map<string, Embedded>();
    for (const [done, text] of distinct.entries()) {
      await turn();
      signal.throwIfAborted();
      onProgress(done / distinct.length);
      embedded.set(text, await embed(text).catch(unusable));
    }
    onProgress(1);
    return {
      condition(wanted, condition = new Float32Array(bundle.manifest.condition.width)) {
        const { hidden } = embedded.get(wanted[0]!)!;
        if (hidden instanceof LoradropError) throw hidden;
        condition.set(hidden);
        return condition;
      },
      sources(wanted) {
        const own = [...new Set(wanted)].map((text) => embedded.get(text)!);
        const cached = own.filter((each) => each.cached).length;
        return { cached, encoded: own.length - cached };
      },
    };
  };
  async function embed(text: string): Promise<Embedded> {
    const { ids, length } = tokenize(descriptionText(text));
    if (length > encoder.mostTokens) {
      throw inferenceErrors.badPrompts(
        `The text has ${length} tokens; the service encodes at most ${encoder.mostTokens} at once.`,
      );
    }
    const own = ids.subarray(0, length);
    const key = `${bundle.digest}/${sha256(new Uint8Array(own.buffer, own.byteOffset, own.byteLength))}`;
    const known = cache.get(key);
    const hidden = known ?? (await encoder.encode(own));
    if (!known) cache.set(key, hidden, hidden.byteLength);
    return { hidden, cached: known !== undefined };
  }
}

/** The failure of one text; any other is everyone's. */
function unusable(error: unknown): Embedded {
  const isOwn = error instanceof LoradropError && error.code === inferenceErrors.badPrompts.spec.code;
  if (!isOwn) throw error;
  return { hidden: error, cached: false };
}

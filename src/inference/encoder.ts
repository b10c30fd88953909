/** The text encoder of a bundle: slices of token ids → hidden states of every position. */

import { LoradropError } from '../base/errors.ts';
import type { Bundle } from '../models/bundle.ts';
import type { Device } from './engine.ts';
import { inferenceErrors } from './errors.ts';
import { Tensor } from './onnx-runtime.ts';
import { openSession, runSession } from './session.ts';

/** What one pass of the encoder takes of a prompt: its ids and how many of them are tokens rather than padding. */
export type Slice = { readonly ids: Int32Array; readonly length: number };

/** A loaded and warm encoder. */
export type Encoder = {
  /** Tokens of a slice. */
  readonly sliceTokens: number;
  /** Most slices in one run. */
  readonly maxSlices: number;
  /** True when every run has `maxSlices` rows, filled up where there are fewer. */
  readonly fixedShape: boolean;
  /**
   * The hidden states of 1…`maxSlices` slices, each `[sliceTokens, width]`; padding positions included, nothing pooled.
   * Errors: `prompts-unusable` where they are not finite.
   */
  encode(slices: readonly Slice[]): Promise<Float32Array[]>;
  /** The hidden states of a slice that is nothing but padding: the same for every prompt (spec §1.3). */
  readonly padded: Float32Array;
  /** Gives its memory back. */
  close(): Promise<void>;
};

/**
 * Prompts in the run on a CPU that shows whether a prompt's numbers depend on its neighbours. Where they do (dynamic
 * quantisation), they do so with any neighbour; a full run would take seconds of every start (4096 tokens through a BERT of 12 layers).
 */
const CPU_CROWD = 4;

/**
 * Loads the encoder, runs it alone and with neighbours, and checks what the bundle says of it:
 *
 * - **A prompt's numbers must not depend on its neighbours.** Where a slice alone and the same slice among others differ by
 *   a bit, every run is given one fixed shape; on CUDA always, since kernels are chosen by shape there. On the CPU the
 *   encoders seen so far give equal bits in every shape.
 * - **Attention where every key is masked** (spec §1.3) is a property of the graph, and this room takes graphs as they are:
 *   a mask of zeros is fed as it is. The importer writes the wished behaviour into the graph; a BERT as exported from PyTorch
 *   gives `uniform` with eager attention, which adds the most negative finite number, and `zero` with scaled dot-product
 *   attention, which is guarded against empty rows. The manifest's word is tested by changing one masked token: under `zero`
 *   the first position must not notice, under `uniform` it must. Only bundles whose prompts are longer than one slice ever
 *   meet the case. Where numbers depend on the whole run (dynamic quantisation), every position notices, and that it does
 *   tells nothing.
 *
 * `largestId` is the largest id that the tokenizer makes; an encoder without an embedding for it would fail at the first
 * prompt that has it. Errors: `bundle-unloadable`.
 */
export async function openEncoder(
  bundle: Bundle,
  device: Device,
  options: { tokenBudget: number; largestId?: number },
): Promise<Encoder> {
  const { encoder, condition } = bundle.manifest;
  const { file, inputs, output } = encoder;
  const { encoderTokens, width, padTokenId } = condition;
  const sliceTokens = Math.min(condition.tokens, encoderTokens);
  const maxSlices = Math.max(1, Math.min(encoder.maxBatch, Math.floor(options.tokenBudget / sliceTokens)));
  // Exporters leave arithmetic on shapes in encoders, which ONNX Runtime does on the CPU beside any device.
  const session = await openSession(bundle, file, device);
  const refuse = (reason: string) => inferenceErrors.unloadable(`${file} ${reason}.`);

  async function run(slices: readonly Slice[], rows: number): Promise<Float32Array[]> {
    const shape = [rows, sliceTokens];
    const ids = new BigInt64Array(rows * sliceTokens);
    const mask = new BigInt64Array(rows * sliceTokens);
    for (let row = 0; row < rows; row++) {
      const slice = slices[Math.min(row, slices.length - 1)]!;
      for (let i = 0; i < sliceTokens; i++) ids[row * sliceTokens + i] = BigInt(slice.ids[i]!);
      mask.fill(1n, row * sliceTokens, row * sliceTokens + slice.length);
    }
    const feeds: Record<string, Tensor> = {
      [inputs.ids]: new Tensor('int64', ids, shape),
      [inputs.mask]: new Tensor('int64', mask, shape),
    };
    if (inputs.tokenTypes) {
      feeds[inputs.tokenTypes] = new Tensor('int64', new BigInt64Array(rows * sliceTokens), shape);
    }
    const { data, dims } = await runSession(session, feeds, { file, output });
    if (dims.join() !== `${rows},${sliceTokens},${width}`) {
      throw refuse(`gives [${dims.join(', ')}] instead of [${rows}, ${sliceTokens}, ${width}]`);
    }
    const size = sliceTokens * width;
    // Copies, so that a slice kept in the cache does not keep its whole run.
    return slices.map((_, row) => data.slice(row * size, (row + 1) * size));
  }

  const padding: Slice = { ids: new Int32Array(sliceTokens).fill(padTokenId), length: 0 };
  // A token that is not padding; ids 0 and 1 are in every vocabulary.
  const otherId = padTokenId === 0 ? 1 : 0;
  // Texts of one run share their number of blocks of keys, so the crowd is of texts that may be in the probe's run.
  const { keyBlock } = encoder;
  const neighbour: Slice = keyBlock
    ? { ids: new Int32Array(sliceTokens).fill(otherId), length: Math.min(sliceTokens, keyBlock) }
    : padding;
  const probe: Slice = { ids: Int32Array.of(otherId, ...padding.ids.subarray(1)), length: 1 };
  const [alone] = await warmUp(() => run([probe], 1));
  // On CUDA the full run, since it is the one shape that will be used.
  const rows = device.provider === 'cuda' ? maxSlices : Math.min(maxSlices, CPU_CROWD);
  const crowd = await warmUp(() => run([...Array<Slice>(rows - 1).fill(neighbour), probe], rows));
  if (!allFinite(alone!)) throw refuse('gives numbers that are not finite');
  const fixedShape = device.provider === 'cuda' || !sameBits(alone!, crowd.at(-1)!);
  const encode = async (slices: readonly Slice[]) => {
    const hidden = await run(slices, fixedShape ? maxSlices : slices.length);
    if (!hidden.every(allFinite)) {
      throw inferenceErrors.badPrompts(`${file} gives numbers that are not finite for one of the prompts.`);
    }
    return hidden;
  };
  if (options.largestId !== undefined) await tryEdges(options.largestId);
  const [padded] = await run([padding], fixedShape ? maxSlices : 1);

  if (condition.tokens > sliceTokens) {
    if (!allFinite(padded!)) {
      throw refuse('gives numbers that are not finite where every token is masked');
    }
    const changed: Slice = { ids: Int32Array.of(...padding.ids.subarray(1), otherId), length: 0 };
    const [noticed] = await encode([changed]);
    const attends = !sameBits(padded!.subarray(0, width), noticed!.subarray(0, width));
    const isTelling = !attends || encoder.maxBatch > 1;
    if (isTelling && attends !== (condition.fullyMaskedAttention === 'uniform')) {
      throw refuse(
        `${attends ? 'attends to masked tokens' : 'attends to nothing'} where every token is masked, but bundle.json says fullyMaskedAttention ${condition.fullyMaskedAttention}`,
      );
    }
  }
  const close = () => session.release();
  return { sliceTokens, maxSlices, fixedShape, encode, padded: padded!, close };

  /**
   * A graph says nowhere how many tokens and positions it has embeddings for; looking up one that is not there fails, and
   * without this it would fail at the first prompt that is long enough or has the token.
   */
  async function tryEdges(largestId: number): Promise<void> {
    const whole = { ids: new Int32Array(sliceTokens).fill(otherId), length: sliceTokens };
    await tryOne(whole, `${file} does not take a prompt of ${sliceTokens} tokens`);
    await tryOne(
      { ids: Int32Array.of(largestId, ...padding.ids.subarray(1)), length: 1 },
      `The tokenizer has tokens up to the id ${largestId}, for which the encoder has no embedding. ` +
        'Take that token out of added_tokens in tokenizer.json, or an encoder that was exported with it',
    );
  }

  async function tryOne(slice: Slice, complaint: string): Promise<void> {
    try {
      await run([slice], fixedShape ? maxSlices : 1);
    } catch (cause) {
      if (!(cause instanceof LoradropError)) throw cause;
      throw inferenceErrors.unloadable(`${complaint} (${cause.message.replace(/\.$/, '')}).`, { cause });
    }
  }

  /** A first run that fails means that the bundle does not run. */
  async function warmUp(first: () => Promise<Float32Array[]>): Promise<Float32Array[]> {
    try {
      return await first();
    } catch (cause) {
      throw cause instanceof Error ? inferenceErrors.unloadable(cause.message, { cause }) : cause;
    }
  }
}

/** Whether every number is finite: NaN and infinity stay NaN when multiplied by 0, and a sum without branches costs nothing. */
export function allFinite(values: Float32Array): boolean {
  let probe = 0;
  for (let i = 0; i < values.length; i++) probe += values[i]! * 0;
  return probe === 0;
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  );
}

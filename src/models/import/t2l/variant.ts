/** Which of the published variants a hypernetwork is, and which are refused by their name. */
import { modelErrors } from '../../errors.ts';
import type { TrainingArgs } from './training-args.ts';

/**
 * How the heads' numbers become LoRA matrices.
 *
 * - `direct`: they are the matrices, but for an offset (a multi-task LoRA) that is added;
 * - `z-score`: they are standard scores of the reconstructed adapters, whose deviation and mean follow; then the offset;
 * - `divided`: both matrices are divided by one number.
 */
export type RawScale =
  | { readonly kind: 'direct' }
  | { readonly kind: 'z-score' }
  | { readonly kind: 'divided'; readonly by: number };

/** What of a hypernetwork its shapes do not tell. */
export type Variant = {
  readonly scale: RawScale;
  /** A and B of a module come from one head, told apart by learnt vectors. */
  readonly sharedHead: boolean;
  /** A multi-task LoRA was trained first, so that there must be an offset. */
  readonly needsOffset: boolean;
};

/** Divisor of the published code where `delta_w_scaling` is not given. */
const DEFAULT_DELTA_W_SCALING = 10_000;

const refuse = (what: string) => modelErrors.checkpoint(`The checkpoint ${what}.`);

/**
 * The variant that arguments and tensor names describe. Errors: `checkpoint-invalid` naming the option that is not computed
 * here: another kind of task encoder, generation rank by rank, one-hot task embeddings, VeRA, an encoder with another pooling.
 */
export function findVariant(args: TrainingArgs, names: readonly string[]): Variant {
  const has = (pattern: RegExp) => names.some((name) => pattern.test(name));
  const { training_task: task = 'sft', encoder_type: encoderType = 'linear' } = args;
  checkEncoder(args);
  if (args.exp_setup?.includes('vera') || has(/(?:^|\.)vera_/)) {
    throw refuse('makes VeRA vectors (exp_setup), not LoRA matrices, which is not supported');
  }
  if (encoderType !== 'linear' || has(/^task_encoder\.(?:embed|mlp\.3\.)/)) {
    throw refuse(
      `has a task encoder of encoder_type ${shown(encoderType, 'linear')}; only linear is supported`,
    );
  }
  if (args.autoreg_gen || args.learnable_pos_emb || has(/^(?:pos_emb|rotary_emb)\./)) {
    throw refuse(
      'generates one rank after the other (autoreg_gen, learnable_pos_emb), which is not supported',
    );
  }
  if (args.use_one_hot_task_emb) {
    throw refuse('knows its tasks by number (use_one_hot_task_emb) and takes no description');
  }
  return {
    scale: task === 'sft' ? { kind: 'direct' } : reconScale(args, has(/^heads\.[^.]+\.bias$/)),
    sharedHead: args.shared_AB_head ?? has(/^out_emb\./),
    needsOffset: task === 'sft' && args.mt_lora_path !== undefined,
  };
}

function reconScale(args: TrainingArgs, hasBias: boolean): RawScale {
  const { factorized = false, pred_z_score: scores = !hasBias, delta_w_scaling: scaling } = args;
  if (factorized) return { kind: scores ? 'z-score' : 'direct' };
  if (scores)
    throw refuse(
      'was trained on standard scores of products (pred_z_score without factorized), which has no inverse',
    );
  return { kind: 'divided', by: Math.sqrt(scaling ?? DEFAULT_DELTA_W_SCALING) };
}

/** Refuses what does not pool on the first token. The published code tells encoders apart by such parts of their names. */
function checkEncoder({ emb_model: name }: TrainingArgs): void {
  if (name === undefined) {
    throw refuse(
      'was trained with its base model as the encoder of descriptions (no emb_model), which is not supported',
    );
  }
  if (name.includes('SFR')) {
    throw refuse(
      'wants an SFR encoder (emb_model), which pools the last token behind an instruction and is not supported',
    );
  }
  if (!name.includes('gte')) {
    throw refuse('names an emb_model that is no gte encoder; how it pools a description is not known');
  }
}

/** The word of an argument, unless only the tensors say that it is another one. */
function shown(word: string, expected: string): string {
  return word === expected ? 'other than linear' : JSON.stringify(word.slice(0, 40));
}

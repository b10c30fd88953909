/** `args.yaml` of a Text-to-LoRA checkpoint: what of its training decides what the hypernetwork computes. */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { isAlias, isMap, isScalar, isSeq, type Node, parseDocument } from 'yaml';
import { modelErrors } from '../../errors.ts';
import { ARGS_FILE } from './find-files.ts';

/** Largest `args.yaml`: the published ones name 479 data sets in 20 kB. Damaged ones cost the parser seconds a megabyte. */
export const MAX_ARGS_BYTES = 1 << 18;
/** Most names in a list that is read. */
const MAX_NAMES = 64;

const Flag = Type.Optional(Type.Boolean());
const Text = Type.String({ maxLength: 1000 });
const Size = Type.Optional(Type.Integer({ minimum: 1, maximum: 1 << 20 }));

/** The arguments that count. Absent ones had their default, or were not there yet when the checkpoint was made. */
const TrainingArgs = Type.Object({
  /** `sft`: the matrices come out as they are; `recon`: on the scale of the adapters that were reconstructed. */
  training_task: Type.Optional(Type.Union([Type.Literal('sft'), Type.Literal('recon')])),
  exp_setup: Type.Optional(Text),
  /** The base model. */
  model_dir: Type.Optional(Text),
  /** The encoder of descriptions. */
  emb_model: Type.Optional(Text),
  target_modules: Type.Optional(Type.Array(Text, { maxItems: MAX_NAMES })),
  hypernet_latent_size: Size,
  head_in_size: Size,
  encoder_type: Type.Optional(Text),
  shared_AB_head: Flag,
  autoreg_gen: Flag,
  learnable_pos_emb: Flag,
  factorized: Flag,
  pred_z_score: Flag,
  delta_w_scaling: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  use_one_hot_task_emb: Flag,
  mt_lora_path: Type.Optional(Text),
});
/** See {@link parseTrainingArgs}. */
export type TrainingArgs = Static<typeof TrainingArgs>;

const validator = Compile(TrainingArgs);
const KEYS = Object.keys(TrainingArgs.properties);

const refuse = modelErrors.checkpoint;

/**
 * The arguments in the text of an `args.yaml`, as PyYAML reads it (YAML 1.1). Only the wanted keys are looked at: tags are
 * passed over, aliases are followed once, nothing is built or run. Errors: `checkpoint-invalid` naming the argument.
 */
export function parseTrainingArgs(text: string): TrainingArgs {
  const document = parsed(text);
  const root = document.contents;
  if (!isMap(root)) throw refuse(`${ARGS_FILE} holds no arguments by their names.`);
  const args: Record<string, unknown> = {};
  for (const key of KEYS) {
    const found = root.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
    const value = plain(found?.value as Node | null | undefined, (node) =>
      isAlias(node) ? node.resolve(document) : (node ?? undefined),
    );
    // Python's None and an empty text both say that there is none.
    if (value !== undefined && value !== null && value !== '') args[key] = value;
  }
  // Python's enumerations are written as a call with one argument.
  for (const key of KEYS) {
    const value = args[key];
    if (key !== 'target_modules' && Array.isArray(value) && value.length === 1) args[key] = value[0];
  }
  if (!validator.Check(args)) {
    const [first] = validator.Errors(args);
    throw refuse(`${ARGS_FILE}: ${first!.instancePath.slice(1)} ${first!.message}.`);
  }
  return args;
}

function parsed(text: string): ReturnType<typeof parseDocument> {
  let document: ReturnType<typeof parseDocument>;
  try {
    document = parseDocument(text, { version: '1.1', merge: false, logLevel: 'silent', prettyErrors: false });
  } catch (cause) {
    // The parser calls itself for every level.
    throw refuse(`${ARGS_FILE} is nested too deeply.`, { cause });
  }
  const [fault] = document.errors;
  if (fault) throw refuse(`${ARGS_FILE} is not YAML (at character ${fault.pos[0]}).`, { cause: fault });
  return document;
}

type Resolve = (node: Node | null | undefined) => Node | undefined;

/** A scalar, or the scalars of a list or a set; anything else as it stands, for the schema to refuse. */
function plain(node: Node | null | undefined, resolve: Resolve): unknown {
  const found = resolve(node);
  if (!found) return undefined;
  if (isScalar(found)) return found.value;
  const items = isSeq(found) ? found.items : isMap(found) ? found.items.map(({ key }) => key) : undefined;
  return items?.slice(0, MAX_NAMES + 1).map((item) => {
    const element = resolve(item as Node);
    return isScalar(element) ? element.value : element;
  });
}

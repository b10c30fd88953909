/** Reading an `adapter_config.json` that somebody else may have written. */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { adapterErrors } from './errors.ts';

/** Name PEFT gives the configuration of an adapter. */
export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
/** Largest `adapter_config.json`: the explicit targets of the largest layout stay below 5 MB. */
export const MAX_CONFIG_BYTES = 8 << 20;
/** Faults a message lists before it only counts the rest. */
const MAX_LISTED = 3;

/** The fields that say what a plain LoRA is; others are kept as they are. */
const PeftConfig = Type.Object({
  peft_type: Type.Literal('LORA'),
  task_type: Type.Literal('CAUSAL_LM'),
  base_model_name_or_path: Type.String({ minLength: 1 }),
  r: Type.Integer({ minimum: 1 }),
  lora_alpha: Type.Number(),
  target_modules: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
  bias: Type.Optional(Type.Literal('none')),
  fan_in_fan_out: Type.Optional(Type.Literal(false)),
  use_dora: Type.Optional(Type.Literal(false)),
  use_rslora: Type.Optional(Type.Boolean()),
  rank_pattern: Type.Optional(Type.Object({}, { additionalProperties: false })),
  alpha_pattern: Type.Optional(Type.Object({}, { additionalProperties: false })),
});
/** What PEFT knows of a LoRA adapter whose rank is the same in every module. */
export type PeftConfig = Static<typeof PeftConfig>;

const Checker = Compile(PeftConfig);

/** The configuration in these bytes. Errors: `adapter-mismatch` naming the fields. */
export function parsePeftConfig(bytes: Uint8Array): PeftConfig {
  if (bytes.length > MAX_CONFIG_BYTES) {
    throw adapterErrors.mismatch(
      `${ADAPTER_CONFIG_FILE} has ${bytes.length} bytes; ${MAX_CONFIG_BYTES} are the limit.`,
    );
  }
  let config: unknown;
  try {
    config = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw adapterErrors.mismatch(`${ADAPTER_CONFIG_FILE} is not JSON in UTF-8.`, { cause });
  }
  if (!Checker.Check(config)) {
    const fields = Checker.Errors(config).map(({ instancePath, message }) => ({
      pointer: instancePath,
      message,
    }));
    const listing = fields.slice(0, MAX_LISTED).map(({ pointer, message }) => `${pointer || '/'} ${message}`);
    throw adapterErrors.mismatch(`${ADAPTER_CONFIG_FILE}: ${listing.join('; ')}.`, { fields });
  }
  return config;
}

/** What B·A is multiplied with: alpha / r, or alpha / √r where the configuration says `use_rslora`. */
export function loraScale({ r, lora_alpha: alpha, use_rslora: rsLora }: PeftConfig): number {
  return alpha / (rsLora ? Math.sqrt(r) : r);
}

/** The `lora_alpha` that means the same to a reader which does not know `use_rslora`, as llama.cpp: it scales with alpha / r. */
export function plainAlpha({ r, lora_alpha: alpha, use_rslora: rsLora }: PeftConfig): number {
  return rsLora ? alpha * Math.sqrt(r) : alpha;
}

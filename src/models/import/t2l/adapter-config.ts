/** `adapter_config.json` of a Text-to-LoRA checkpoint: the adapters that its hypernetwork makes. */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { parseJson } from '../../../base/parse-json.ts';
import { modelErrors } from '../../errors.ts';
import { CONFIG_FILE } from './find-files.ts';

/** Largest `adapter_config.json`; those of PEFT stay below 2 kB. */
export const MAX_CONFIG_BYTES = 1 << 20;

const absent = (type: ReturnType<typeof Type.Literal> | ReturnType<typeof Type.Null>) =>
  Type.Optional(Type.Union([type, Type.Null()]));
const Empty = Type.Optional(Type.Union([Type.Null(), Type.Object({}, { additionalProperties: false })]));

/** The fields that say what a plain LoRA is; PEFT writes many more. */
const T2lAdapterConfig = Type.Object({
  peft_type: Type.Literal('LORA'),
  r: Type.Integer({ minimum: 1, maximum: 512 }),
  lora_alpha: Type.Number({ exclusiveMinimum: 0 }),
  use_rslora: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  target_modules: Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { minItems: 1, maxItems: 64 }),
  base_model_name_or_path: Type.Optional(Type.Union([Type.String({ maxLength: 1000 }), Type.Null()])),
  bias: absent(Type.Literal('none')),
  use_dora: absent(Type.Literal(false)),
  fan_in_fan_out: absent(Type.Literal(false)),
  rank_pattern: Empty,
  alpha_pattern: Empty,
  layers_to_transform: absent(Type.Null()),
});
/** See the schema of the same name. */
export type T2lAdapterConfig = Static<typeof T2lAdapterConfig>;

const validator = Compile(T2lAdapterConfig);

/** The configuration in the text of the file. Errors: `checkpoint-invalid` naming the field. */
export function parseT2lAdapterConfig(text: string): T2lAdapterConfig {
  return parseJson(text, validator, (detail, cause) =>
    modelErrors.checkpoint(`${CONFIG_FILE}: ${detail}`, cause === undefined ? {} : { cause }),
  );
}

/** What the pipeline notes of an adapter beside its files, and the API shows of it. */
import { type Static, Type } from 'typebox';
import { TransformRecord } from '../arithmetic/steps.ts';
import { SHA256_PATTERN } from '../base/digest.ts';
import { DTYPES } from '../base/dtype.ts';
import { ID_PATTERN } from '../base/ids.ts';
import { AttentionHeads } from '../lora/layout.ts';
import { Licence } from '../models/licence.ts';

const Sha256 = Type.String({ pattern: SHA256_PATTERN, description: 'SHA-256, lower-case hex.' });

/** The `info` of a stored adapter. */
export const AdapterInfo = Type.Object({
  jobId: Type.String({ pattern: ID_PATTERN }),
  index: Type.Integer({ description: '0-based number among the adapters of its job.' }),
  model: Type.String(),
  bundleDigest: Sha256,
  trained: Type.Boolean({
    description: 'False for a model with random weights: a valid file with random effect.',
  }),
  dtype: Type.Enum([...DTYPES]),
  device: Type.String(),
  seed: Type.Integer(),
  name: Type.Optional(Type.String()),
  tensors: Type.Integer(),
  parameters: Type.Integer(),
  baseModel: Type.String(),
  architecture: Type.Optional(Type.String({ description: 'Of the base: `llama`, `qwen2`.' })),
  heads: Type.Optional(
    Type.Object(AttentionHeads.properties, {
      description: 'Attention heads of the base, and those of k and v, where they are known.',
    }),
  ),
  rank: Type.Integer(),
  alpha: Type.Number(),
  rsLora: Type.Optional(
    Type.Boolean({ description: 'True where it is scaled by alpha / √rank (`use_rslora`).' }),
  ),
  licence: Type.Optional(Licence),
  warnings: Type.Optional(Type.Array(Type.String(), { description: 'Those of its job.' })),
  promptDigests: Type.Array(Sha256, { description: 'SHA-256 of each chosen prompt, in condition order.' }),
  transform: Type.Optional(TransformRecord),
});
/** See {@link AdapterInfo}. */
export type AdapterInfo = Static<typeof AdapterInfo>;

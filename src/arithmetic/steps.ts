/** The steps of a transform, as requests and the command line spell them. */
import { type Static, Type } from 'typebox';

/** Most steps of one transform. */
export const MAX_STEPS = 8;
/** Largest rank that a sum of adapters may have before it is cut: the work grows with its square. */
export const MAX_SUM_RANK = 256;

const closed = { additionalProperties: false };

const Scale = Type.Object(
  {
    type: Type.Literal('scale'),
    factor: Type.Number({
      minimum: -16,
      maximum: 16,
      description: 'What every change of a weight, ΔW = scale · B·A, is multiplied with.',
    }),
    top: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'Scale only that many modules, those with the largest ‖ΔW‖ (cf. arXiv 2604.23750).',
      }),
    ),
  },
  { ...closed, title: 'Scale', description: 'Makes the adapter stronger or weaker.' },
);
const Rank = Type.Object(
  {
    type: Type.Literal('rank'),
    to: Type.Optional(
      Type.Integer({ minimum: 1, maximum: MAX_SUM_RANK, description: 'The rank afterwards.' }),
    ),
    energy: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1,
        description:
          'The smallest rank, the same for all modules, that keeps this share of Σ‖ΔW‖². Either this or `to`.',
      }),
    ),
  },
  { ...closed, title: 'Rank', description: 'The nearest adapter of a lower rank (truncated SVD).' },
);
const Modules = Type.Object(
  {
    type: Type.Literal('modules'),
    keep: Type.Integer({
      minimum: 1,
      description: 'How many modules, counted over all layers, keep their LoRA: those with the largest ‖ΔW‖.',
    }),
  },
  { ...closed, title: 'Modules', description: 'Drops the LoRA of the modules that change least.' },
);

/** One step. */
export const TransformStep = Type.Union([Scale, Rank, Modules]);
/** See the schema of the same name. */
export type TransformStep = Static<typeof TransformStep>;

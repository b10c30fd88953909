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

/**
 * What may be kept of several samples: the one nearest to their mean in weight space, or the mean, cut back to the rank of
 * one sample.
 */
export const KEEPS = ['central', 'mean'] as const;
/** One of {@link KEEPS}. */
export type Keep = (typeof KEEPS)[number];

/** How an adapter came of others, as its record tells it. */
export const TransformRecord = Type.Object(
  {
    sources: Type.Optional(
      Type.Array(Type.Object({ id: Type.String(), weight: Type.Number(), sha256: Type.String() }), {
        description: 'The adapters it was made from, each with the SHA-256 of its weights.',
      }),
    ),
    keep: Type.Optional(Type.Enum([...KEEPS], { description: 'What was kept of the samples of its job.' })),
    samples: Type.Optional(
      Type.Array(Type.Number(), {
        description: '‖ΔW − mean‖ / ‖mean‖ of each sample of its job, in the order of the draws.',
      }),
    ),
    steps: Type.Array(TransformStep),
    energyKept: Type.Number({ description: 'Share of Σ‖ΔW‖² that the cutting steps left.' }),
  },
  closed,
);
/** See the schema of the same name. */
export type TransformRecord = Static<typeof TransformRecord>;

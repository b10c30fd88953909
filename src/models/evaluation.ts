/** What was measured of a bundle before it was published: figures beside those they are to be read against. */
import { type Static, Type } from 'typebox';
import type { FieldError } from '../base/errors.ts';

const closed = { additionalProperties: false } as const;

/** What a figure counts: nats per answer token under the model (less is better), or the share of right answers (0…1). */
export const EVALUATION_METRICS = ['answer-nll', 'accuracy'] as const;
export type EvaluationMetric = (typeof EVALUATION_METRICS)[number];

/**
 * Whose figure it is, all on the same items of one data set:
 * - `base`: the base model alone;
 * - `base-instructed`: the base model with the data set's own instruction as its system message;
 * - `base-held-to-choices`: the base model if it could answer nothing but the choices that a row lists: its likelihoods of
 *   the whole choices, divided by their sum. The form of the answers costs it nothing;
 * - `uniform-guess`: a guess that knows the form of the answers and nothing else: every listed choice is equally likely, no
 *   other answer is possible. ln(choices) nats over the tokens of the answer;
 * - `training-adapters-mean`: the mean over adapters trained on each of the generator's training sets, none of them this one;
 * - `training-adapter-best`: the best of those on this data set;
 * - `training-adapters-average`: one adapter whose weights are the average of theirs;
 * - `multi-task-adapter`: one adapter trained on all data sets of theirs together;
 * - `multi-task-adapter-unmixed`: the same, without the sets whose rows do not show by themselves how they want to be answered;
 * - `generated`: adapters that the bundle makes from prompts of this data set;
 * - `own-adapter`: an adapter trained on this data set itself, on right answers that the bundle never sees;
 * - `control-same-form`: adapters that the bundle makes from prompts of other data sets that are answered in the same form;
 * - `control-other-form`: adapters that the bundle makes from prompts of data sets that are answered in another form;
 * - `control-other-prompts`: adapters that the bundle makes from prompts of other data sets, whatever their form: the two
 *   before tell more;
 * - `control-shuffled-words`: adapters that the bundle makes from this data set's prompts with their words shuffled.
 */
export const EVALUATION_SUBJECTS = [
  'base',
  'base-instructed',
  'base-held-to-choices',
  'uniform-guess',
  'training-adapters-mean',
  'training-adapter-best',
  'training-adapters-average',
  'multi-task-adapter',
  'multi-task-adapter-unmixed',
  'generated',
  'own-adapter',
  'control-same-form',
  'control-other-form',
  'control-other-prompts',
  'control-shuffled-words',
] as const;
export type EvaluationSubject = (typeof EVALUATION_SUBJECTS)[number];

/** Longest account of how it was measured: a page. */
export const MAX_PROTOCOL_CHARS = 4000;
/** Most figures: both metrics of every subject on 16 data sets. */
export const MAX_EVALUATION_ROWS = 500;
/** Longest name of a data set. */
const MAX_DATASET_CHARS = 100;
/** Most items and draws of a figure: above it a number is a slip of the pen. */
const MAX_COUNT = 1_000_000_000;

/** One figure. No figure of either metric is below 0. */
export const EvaluationRow = Type.Object(
  {
    /** Name of the data set that was held out, in the protocol's words. No control characters: it is shown on terminals. */
    dataset: Type.String({
      minLength: 1,
      maxLength: MAX_DATASET_CHARS,
      pattern: '^[^\\u0000-\\u001f\\u007f]*$',
    }),
    metric: Type.Enum([...EVALUATION_METRICS], {
      description: 'Nats per answer token (less is better), or share of right answers (0 to 1).',
    }),
    subject: Type.Enum([...EVALUATION_SUBJECTS], {
      description:
        'Whose figure it is: `generated` is this model’s adapters, `base` the base model, `own-adapter` an adapter trained on the data set itself, `uniform-guess` a guess that knows the form of the answers alone, `base-held-to-choices` the base model with the form for nothing, `control-…` this model’s adapters for other prompts (answered in the same form or in another) or for shuffled words.',
    }),
    value: Type.Number({ minimum: 0 }),
    low: Type.Optional(
      Type.Number({ minimum: 0, description: 'Lower end of the interval that the protocol explains.' }),
    ),
    high: Type.Optional(Type.Number({ minimum: 0, description: 'Upper end of it.' })),
    items: Type.Optional(
      Type.Integer({ minimum: 1, maximum: MAX_COUNT, description: 'Items of the data set it is over.' }),
    ),
    draws: Type.Optional(
      Type.Integer({ minimum: 1, maximum: MAX_COUNT, description: 'Draws of prompts it is over.' }),
    ),
    deviation: Type.Optional(Type.Number({ minimum: 0, description: 'Standard deviation over the draws.' })),
  },
  closed,
);
export type EvaluationRow = Static<typeof EvaluationRow>;

/** Figures, and how they came about. */
export const Evaluation = Type.Object(
  {
    protocol: Type.String({
      minLength: 1,
      maxLength: MAX_PROTOCOL_CHARS,
      description: 'What was held out, how, on how many items, and from which run the figures are.',
    }),
    rows: Type.Array(EvaluationRow, { minItems: 1, maxItems: MAX_EVALUATION_ROWS }),
  },
  {
    ...closed,
    description:
      'What was measured of it before it was published. The service passes it on and does not measure anything itself.',
  },
);
export type Evaluation = Static<typeof Evaluation>;

/** Shares of what an adapter trained on a data set itself gains over the base model, in NLL. */
export type GainShares = { readonly generated: number; readonly form: number };

/**
 * How much of `own-adapter`'s gain over `base` in NLL `generated` has, and how much `uniform-guess` has, which is form
 * alone; by data set. Data sets that lack one of the four figures, or whose own adapter gains nothing, are left out.
 */
export function gainShares({ rows }: Pick<Evaluation, 'rows'>): Map<string, GainShares> {
  const shares = new Map<string, GainShares>();
  for (const dataset of new Set(rows.map((row) => row.dataset))) {
    const nll = (subject: EvaluationSubject) =>
      rows.find((row) => row.dataset === dataset && row.metric === 'answer-nll' && row.subject === subject)
        ?.value ?? Number.NaN;
    const shareOf = (subject: EvaluationSubject) =>
      (nll('base') - nll(subject)) / (nll('base') - nll('own-adapter'));
    const share = { generated: shareOf('generated'), form: shareOf('uniform-guess') };
    const isKnown = Number.isFinite(share.generated) && Number.isFinite(share.form);
    if (isKnown && nll('own-adapter') < nll('base')) shares.set(dataset, share);
  }
  return shares;
}

/**
 * What a schema cannot say: an interval has two ends and holds its value, an accuracy is at most 1, and a data set has one
 * figure a metric and subject. Pointers are relative to the evaluation.
 */
export function evaluationErrors({ rows }: Evaluation): FieldError[] {
  const found: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, { dataset, metric, subject, value, low, high }] of rows.entries()) {
    const pointer = `/rows/${index}`;
    if ((low === undefined) !== (high === undefined)) {
      found.push({ pointer, message: 'must have both `low` and `high` or neither' });
    } else if (low !== undefined && high !== undefined && !(low <= value && value <= high)) {
      found.push({ pointer, message: 'must have `low` ≤ `value` ≤ `high`' });
    }
    if (metric === 'accuracy' && Math.max(value, high ?? 0) > 1) {
      found.push({ pointer, message: 'is an accuracy, which is at most 1' });
    }
    const key = JSON.stringify([dataset, metric, subject]);
    if (seen.has(key)) found.push({ pointer, message: `is a second figure of ${subject} on this data set` });
    seen.add(key);
  }
  return found;
}

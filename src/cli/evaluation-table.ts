/** How the figures of an evaluation are shown. */
import {
  EVALUATION_METRICS,
  type Evaluation,
  type EvaluationMetric,
  type EvaluationRow,
  type EvaluationSubject,
  type GainShares,
  gainShares,
} from '../models/evaluation.ts';
import { formatCount, formatTable } from './output.ts';

/** A metric in words, with the direction that is better. */
export const METRIC_NAMES: Readonly<Record<EvaluationMetric, string>> = {
  'answer-nll': 'nats per answer token, less is better',
  accuracy: 'share of right answers, more is better',
};

/** The subjects in words, in the order in which a data set's figures are told: what there is without, with, and instead. */
const SUBJECT_NAMES: Readonly<Record<EvaluationSubject, string>> = {
  base: 'the base model alone',
  'base-instructed': 'the base model, told what to do by the data set’s instruction',
  'base-held-to-choices': 'the base model if it could answer nothing but the listed choices',
  'uniform-guess': 'a guess that knows the form of the answers and nothing else',
  generated: 'with adapters that this model made from prompts of the data set',
  'control-same-form': 'control: from prompts of other data sets that are answered in the same form',
  'control-other-form': 'control: from prompts of data sets that are answered in another form',
  'control-other-prompts': 'control: with adapters that it made from prompts of other data sets',
  'control-shuffled-words': 'control: with adapters that it made from the same prompts, words shuffled',
  'training-adapters-mean': 'mean over adapters trained on each of its training data sets',
  'training-adapter-best': 'the best of those',
  'training-adapters-average': 'with one adapter, the average of their weights',
  'multi-task-adapter': 'with one adapter trained on all of these sets together',
  'multi-task-adapter-unmixed': 'with one trained on those of them whose every row shows how to answer it',
  'own-adapter': 'with an adapter trained on the data set itself, on right answers',
};

/** Columns of a line of prose. */
const LINE_CHARS = 100;

/** An evaluation in a few words, for lists. */
export function evaluationSummary({ rows }: Evaluation): string {
  const count = new Set(rows.map(({ dataset }) => dataset)).size;
  return `measured on ${count} data set${count === 1 ? '' : 's'}`;
}

/** The figure with three decimals, and the interval where there is one: `1.204 (1.113–1.298)`. */
export function formatFigure({ value, low, high }: Pick<EvaluationRow, 'value' | 'low' | 'high'>): string {
  const figure = (number: number) => number.toFixed(3);
  const interval = low === undefined || high === undefined ? '' : ` (${figure(low)}–${figure(high)})`;
  return `${figure(value)}${interval}`;
}

/** Every figure of an evaluation as a table, a subject a row, in the order given. */
export function evaluationTable(rows: readonly EvaluationRow[]): string {
  const count = (number: number | undefined) => (number === undefined ? '' : formatCount(number));
  return formatTable([
    ['data set', 'metric', 'subject', 'value', 'items', 'draws', 'deviation'],
    ...rows.map((row) => [
      row.dataset,
      row.metric,
      row.subject,
      formatFigure(row),
      count(row.items),
      count(row.draws),
      row.deviation === undefined ? '' : row.deviation.toFixed(3),
    ]),
  ]);
}

/** What adapters gained, beside what the form of the answers gains by itself. */
export function sharesText({ generated, form }: GainShares): string {
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  return (
    `Of what \`own-adapter\` gains over \`base\` in answer-nll, \`generated\` has ${percent(generated)}; ` +
    `\`uniform-guess\`, which is form alone, has ${percent(form)}.`
  );
}

/** Text broken between words into lines of at most {@link LINE_CHARS}; longer words stay whole. Paragraphs stay apart. */
export function wrapText(text: string): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines = [''];
    for (const word of paragraph.split(/\s+/).filter(Boolean)) {
      const line = lines.at(-1)!;
      if (line === '') lines[lines.length - 1] = word;
      else if (line.length + 1 + word.length <= LINE_CHARS) lines[lines.length - 1] = `${line} ${word}`;
      else lines.push(word);
    }
    return lines;
  });
}

/** The figures of a metric that a short account has: with, without, and what form alone or a training run would do. */
const TOLD: Readonly<Record<EvaluationMetric, readonly EvaluationSubject[]>> = {
  'answer-nll': ['base', 'generated', 'uniform-guess', 'control-same-form', 'own-adapter'],
  accuracy: ['base', 'generated'],
};

/**
 * What an evaluation says of one data set, in a few lines: per metric the figures to read beside each other, and how to read
 * them. Says so where nothing was measured, or not on this data set.
 */
export function datasetFigures(evaluation: Evaluation | undefined, dataset: string): string[] {
  if (!evaluation)
    return ['Nothing was measured of this model: what its adapters do to answers is not known.'];
  const own = evaluation.rows.filter((row) => row.dataset === dataset);
  if (own.length === 0) {
    const others = [...new Set(evaluation.rows.map((row) => row.dataset))].join(', ');
    return [`Nothing was measured of this model on ${dataset}; there are figures for ${others}.`];
  }
  const tables = EVALUATION_METRICS.flatMap((metric) => {
    const told = TOLD[metric].flatMap((subject) =>
      own.filter((row) => row.metric === metric && row.subject === subject),
    );
    if (told.length === 0) return [];
    const cells = told.map((row) => [`  ${row.subject}`, formatFigure(row), SUBJECT_NAMES[row.subject]]);
    return [`${metric} (${METRIC_NAMES[metric]})`, ...formatTable(cells).split('\n')];
  });
  const share = gainShares(evaluation).get(dataset);
  const reading =
    `${share ? `${sharesText(share)} ` : ''}${accuracyText(own)}Where \`uniform-guess\` or a control does as well as ` +
    '`generated`, adapters carry the form of the answers and nothing else.';
  return [`Measured on ${dataset} before the model was published:`, ...tables, ...wrapText(reading)];
}

/** Whether more answers are right with adapters, as far as intervals tell. */
function accuracyText(rows: readonly EvaluationRow[]): string {
  const of = (subject: EvaluationSubject) =>
    rows.find((row) => row.metric === 'accuracy' && row.subject === subject);
  const [base, generated] = [of('base'), of('generated')];
  if (base?.low === undefined || base.high === undefined) return '';
  if (generated?.low === undefined || generated.high === undefined) return '';
  if (generated.low > base.high) return 'More answers are right with the adapters. ';
  return generated.high < base.low
    ? 'Fewer answers are right with the adapters. '
    : 'The adapters were not seen to make answers right more often. ';
}

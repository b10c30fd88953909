/** The events of a fine-tuning job, from what is kept of it: what the job really did, in OpenAI's shape. */
import { sha256 } from '../base/digest.ts';
import type { Figures } from '../evaluation/statistics.ts';
import type { Measured, Validation } from '../jobs/validations.ts';
import { isNameOfBase } from './ids.ts';
import { endOf, type FineTuningRecord, failureText, fineTuningStatus, inSeconds } from './present-job.ts';

type Level = 'info' | 'warn' | 'error';

/** An event as OpenAI's API has it. */
export type FineTuningEvent = {
  readonly object: 'fine_tuning.job.event';
  readonly id: string;
  readonly created_at: number;
  readonly level: Level;
  readonly message: string;
  readonly type: 'message' | 'metrics';
  readonly data: Readonly<Record<string, unknown>>;
};

/** An event before it has its id; `at` is in milliseconds since the epoch, `kind` is its own among those of the job. */
type Told = {
  readonly at: number;
  readonly kind: string;
  readonly message: string;
  readonly level?: Level;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly metrics?: true;
};

/** The events of a job so far, the newest first. An event keeps its id, so that pages go on from it. */
export function fineTuningEvents(
  record: FineTuningRecord,
  validation: Validation | undefined,
): FineTuningEvent[] {
  const { id, payload } = record;
  const told = [
    ...acceptance(record),
    ...(payload.fineTuning.refusal ? [] : reading(record)),
    ...running(record),
    ...validating(record, validation),
    ...ending(record, validation),
  ];
  return told
    .map(
      ({ at, kind, message, level = 'info', data = {}, metrics }): FineTuningEvent => ({
        object: 'fine_tuning.job.event',
        id: `ftevent-${sha256(`${id}/${payload.acceptedAt}/${kind}`).slice(0, 24)}`,
        created_at: inSeconds(at),
        level,
        message,
        type: metrics ? 'metrics' : 'message',
        data,
      }),
    )
    .reverse();
}

function acceptance({ id, payload }: FineTuningRecord): Told[] {
  const { acceptedAt: at, fineTuning } = payload;
  const { model, baseModel, trainingFile, validationFile } = fineTuning;
  const files = [
    `training file: ${trainingFile}`,
    ...(validationFile ? [`validation file: ${validationFile}`] : []),
  ];
  const isAlias = model !== payload.model && !isNameOfBase(model, baseModel);
  return [
    { at, kind: 'created', message: `Created fine-tuning job: ${id}` },
    { at, kind: 'reading', message: `Validating ${files.join(' and ')}` },
    {
      at,
      kind: 'model',
      message: `${isAlias ? `${model} stands for ${payload.model} here, as the operator has set. ` : ''}The model ${payload.model} generates an adapter for ${baseModel}. Nothing is trained: there are no gradient steps.`,
    },
  ];
}

/** What was found in the training file, and what of it is not used. */
function reading({ payload }: FineTuningRecord): Told[] {
  const { acceptedAt: at, fineTuning, promptSource, prompts, draws, warnings } = payload;
  const { counts, hyperparameters } = fineTuning;
  const given = Object.keys(hyperparameters).sort();
  const told: Told[] = [];
  const tell = (kind: string, message: string, level: Level = 'info') =>
    told.push({ at, kind, message, level });
  if (counts && promptSource) {
    const { rows: found, distinct } = promptSource;
    tell(
      'prompts',
      `The training file has ${some(counts.rows, 'row')} with ${some(found, 'prompt')}, ${distinct} of them distinct. The adapter is made from ${some(draws[0]?.length ?? 0, 'prompt')}, ${prompts.length} of them distinct, drawn with the seed ${payload.seed}.`,
    );
    if (counts.answers > 0) {
      tell(
        'answers',
        `The ${some(counts.answers, 'answer')} in the training file ${counts.answers === 1 ? 'was' : 'were'} not used: an adapter is generated from prompts alone. A trainer that takes gradient steps on them (PEFT, TRL, Axolotl) would use them.`,
        'warn',
      );
    }
    if (counts.promptsFrom === 'system') {
      tell(
        'systems',
        `The system text is the prompt: ${payload.model} takes a description of the task. What users say was not used.`,
      );
    } else if (counts.systems > 0) {
      tell(
        'systems',
        `The system texts of ${some(counts.systems, 'row')} are not part of the prompts. Send them when you ask the model, as in the file.`,
      );
    }
    if (counts.tools > 0) {
      tell(
        'tools',
        `Tools, calls of them and their results in ${some(counts.tools, 'row')} were not used.`,
        'warn',
      );
    }
    if (counts.withoutPrompt > 0) {
      tell(
        'unweighted',
        `${some(counts.withoutPrompt, 'row')} gave no prompt: every answer there has the weight 0.`,
      );
    }
  }
  if (given.length > 0) {
    tell(
      'hyperparameters',
      `${given.join(', ')}: taken and without effect, since there are no gradient steps.`,
      'warn',
    );
  }
  for (const [index, warning] of warnings.entries()) tell(`warning-${index}`, warning, 'warn');
  return told;
}

/** A number of things, as `1 row` or `2 rows`. */
function some(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

function running({ startedAt, attempts, payload, result, status, finishedAt }: FineTuningRecord): Told[] {
  if (payload.fineTuning.refusal || startedAt === undefined) return [];
  const told: Told[] = [
    {
      at: startedAt,
      kind: 'started',
      message: attempts > 1 ? `Fine-tuning job started, run ${attempts}` : 'Fine-tuning job started',
    },
  ];
  if (status === 'succeeded' && result) {
    const { totalMs, queuedMs } = result.timings;
    told.push({
      at: finishedAt ?? startedAt,
      kind: 'model-created',
      message: `New fine-tuned model created: ${payload.adapterIds[0]} (${((totalMs - queuedMs) / 1000).toFixed(1)} s after the job started)`,
      data: { timings: result.timings },
    });
  }
  return told;
}

function validating(
  { payload, status, finishedAt = 0 }: FineTuningRecord,
  validation: Validation | undefined,
): Told[] {
  const { validationFile } = payload.fineTuning;
  if (!validation || validationFile === undefined || status !== 'succeeded') return [];
  const begun: Told = {
    at: finishedAt,
    kind: 'validating',
    message: `Scoring the rows of ${validationFile} with the base, alone and with the adapter`,
  };
  if (validation.state === 'pending') return [begun];
  if (validation.outcome === 'skipped') {
    const message = `The adapter was not validated. ${validation.reason}`;
    return [begun, { at: validation.endedAt, kind: 'not-validated', level: 'warn', message }];
  }
  return [begun, ...measured(validation)];
}

function measured(validation: Measured): Told[] {
  const { rows: scored, labelled, base, adapter, difference, verdict, endedAt: at } = validation;
  const { value, low, high } = difference.nll;
  const change = `${signed(value)} nats an answer token, 95 % interval ${signed(low)} to ${signed(high)}`;
  const told: Told[] = [
    {
      at,
      kind: 'metrics',
      metrics: true,
      message: `Validation on ${scored} of ${some(labelled, 'row')}: loss ${base.nll.value.toFixed(4)} of the base, ${adapter.nll.value.toFixed(4)} with the adapter (${change})`,
      data: validationMetrics(validation),
    },
  ];
  if (verdict !== 'helps') {
    const what =
      verdict === 'harms' ? 'The adapter makes the base worse' : 'No difference to the base was seen';
    told.push({
      at,
      kind: 'verdict',
      level: 'warn',
      message: `The adapter does not help on the validation file. ${what}: ${change}.`,
    });
  }
  return told;
}

const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;

/** The figures of a validation: `full_valid_loss` is OpenAI's name, the others have none there. Losses are nats an answer token. */
export function validationMetrics({ rows: scored, base, adapter, difference, verdict }: Measured) {
  return {
    full_valid_loss: adapter.nll.value,
    base_full_valid_loss: base.nll.value,
    full_valid_loss_change: difference.nll.value,
    full_valid_loss_change_low: difference.nll.low,
    full_valid_loss_change_high: difference.nll.high,
    ...choiceAccuracy('valid_choice_accuracy', adapter),
    ...choiceAccuracy('base_valid_choice_accuracy', base),
    valid_rows: scored,
    verdict,
  };
}

/** The share of rows whose right answer is the likeliest of few: no accuracy of tokens, and so not under OpenAI's name for that. */
function choiceAccuracy(name: string, { accuracy }: Figures): Readonly<Record<string, number>> {
  return accuracy ? { [name]: accuracy.value } : {};
}

function ending(record: FineTuningRecord, validation: Validation | undefined): Told[] {
  const at = endOf(record, validation);
  if (at === undefined) return [];
  const status = fineTuningStatus(record, validation);
  if (status === 'succeeded') return [{ at, kind: 'ended', message: 'The job has successfully completed' }];
  if (status === 'cancelled') return [{ at, kind: 'ended', message: 'The job was cancelled' }];
  return status === 'failed'
    ? [{ at, kind: 'ended', level: 'error', message: `The job failed. ${failureText(record)}` }]
    : [];
}

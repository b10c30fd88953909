/** What `loradrop evaluate` found, as data and as a table. */
import { compareWithForm, type Gain } from '../evaluation/form.ts';
import {
  type Estimate,
  type Figures,
  figures,
  meanScores,
  pairedDifference,
  type RowScore,
  type Verdict,
  verdictOf,
} from '../evaluation/statistics.ts';
import { UNTRAINED } from '../models/bundle.ts';
import type { BundleManifest } from '../models/manifest.ts';
import { signed, verdictSentences } from './evaluation-verdict.ts';
import { formatCount, formatTable, type Output } from './output.ts';

/** Figures of the mean over several adapters, of each alone, and of the difference the mean makes to the base. */
type Adapted = {
  readonly mean: Figures;
  /** Without intervals: how much adapters from other draws of the same prompts vary. */
  readonly draws: readonly { readonly nll: number; readonly accuracy?: number }[];
  readonly minusBase: Figures;
};

/** What `loradrop evaluate --json` prints. Differences are paired, row by row. */
export type EvaluationReport = {
  readonly bundle: { readonly id: string; readonly digest: string; readonly trained: boolean };
  readonly base: { readonly file: string; readonly id: string };
  readonly seed: number;
  readonly rows: {
    readonly given: number;
    readonly scored: number;
    /** Of the scored ones, those that accuracy is over. */
    readonly withChoices: number;
    readonly answerTokens: number;
    /** Prompts that the conditions were drawn from. */
    readonly prompts: number;
  };
  readonly untouched: Figures;
  /** The form of the answers alone, over the rows with choices; absent where there are none. */
  readonly form?: {
    readonly uniformGuess: Figures;
    readonly baseHeldToChoices: Figures;
    /** Below 0 in NLL: the adapters are better than a guess in the right form. */
    readonly generatedMinusUniformGuess: Figures;
    readonly generatedMinusBaseHeldToChoices: Figures;
  };
  readonly generated: Adapted;
  readonly control?: Adapted & {
    /** Below 0 in NLL: these prompts' adapters are better here than those of other prompts. */
    readonly generatedMinusControl: Figures;
  };
  readonly verdict: {
    readonly word: Verdict;
    /** What was gained, where the adapters help and rows have choices. */
    readonly gain?: Gain;
    readonly sentence: string;
  };
  readonly warnings: readonly string[];
};

/** Makes the report. `control` may be empty. */
export function evaluationReport({
  bundle,
  digest,
  base,
  rows,
  scores,
  seed,
  warnings,
}: {
  bundle: BundleManifest;
  digest: string;
  base: string;
  rows: { given: number; prompts: number };
  scores: {
    base: readonly RowScore[];
    generated: readonly (readonly RowScore[])[];
    control: readonly (readonly RowScore[])[];
  };
  seed: number;
  warnings: readonly string[];
}): EvaluationReport {
  const adapted = (draws: readonly (readonly RowScore[])[]): Adapted => {
    const mean = meanScores(draws);
    return {
      mean: figures(mean, seed),
      draws: draws.map((draw) => {
        const { nll, accuracy } = figures(draw, seed);
        return { nll: nll.value, ...(accuracy && { accuracy: accuracy.value }) };
      }),
      minusBase: pairedDifference(scores.base, mean, seed),
    };
  };
  const generated = adapted(scores.generated);
  const word = verdictOf(generated.minusBase);
  const form = compareWithForm(scores.base, meanScores(scores.generated), seed);
  return {
    bundle: { id: bundle.id, digest, trained: bundle.trained },
    base: { file: base, id: bundle.base.id },
    seed,
    rows: {
      ...rows,
      scored: scores.base.length,
      withChoices: scores.base.filter(({ correct }) => correct !== undefined).length,
      answerTokens: scores.base.reduce((sum, { tokens }) => sum + tokens, 0),
    },
    untouched: figures(scores.base, seed),
    ...(form && {
      form: {
        uniformGuess: figures(form.uniformGuess, seed),
        baseHeldToChoices: figures(form.baseHeldToChoices, seed),
        generatedMinusUniformGuess: form.minusUniformGuess,
        generatedMinusBaseHeldToChoices: form.minusBaseHeldToChoices,
      },
    }),
    generated,
    ...(scores.control.length > 0 && {
      control: {
        ...adapted(scores.control),
        generatedMinusControl: pairedDifference(
          meanScores(scores.control),
          meanScores(scores.generated),
          seed,
        ),
      },
    }),
    verdict: {
      word,
      ...(word === 'helps' && form && { gain: form.gain }),
      sentence: verdictSentences(generated.minusBase, { rows: scores.base.length, form }).join('\n'),
    },
    warnings,
  };
}

/** Prints the report as a table and a verdict. */
export function printReport(report: EvaluationReport, output: Output): void {
  const { bundle, base, rows, untouched, form, generated, control, verdict } = report;
  output.line(
    `${bundle.id} on ${base.file} (adapters for ${base.id}): ${formatCount(rows.scored)} of ${formatCount(rows.given)} rows scored, adapters drawn from ${formatCount(rows.prompts)} prompts`,
  );
  if (!bundle.trained) {
    output.line(`!!! THIS BUNDLE IS UNTRAINED (${UNTRAINED}): what follows measures noise.`);
  }
  for (const warning of report.warnings) output.line(`! ${warning}`);
  output.line();
  const over = rows.withChoices < rows.scored ? `, ${formatCount(rows.withChoices)} rows` : '';
  const lines: [string, Figures, (value: number) => string][] = [['base alone', untouched, plain]];
  if (form) {
    lines.push(
      [`base held to the listed choices${over}`, form.baseHeldToChoices, plain],
      [`uniform guess in the right form${over}`, form.uniformGuess, plain],
    );
  }
  lines.push(
    [`with adapters, mean of ${generated.draws.length}`, generated.mean, plain],
    ['  difference to the base', generated.minusBase, signed],
  );
  if (form) {
    lines.push(
      ['  difference to the base held to choices', form.generatedMinusBaseHeldToChoices, signed],
      ['  difference to the uniform guess', form.generatedMinusUniformGuess, signed],
    );
  }
  if (control) {
    lines.push(
      [`control, mean of ${control.draws.length}`, control.mean, plain],
      ['  difference to the base', control.minusBase, signed],
      ['adapters minus control', control.generatedMinusControl, signed],
    );
  }
  const withAccuracy = untouched.accuracy !== undefined;
  output.line(
    formatTable([
      [
        '',
        'answer NLL, nats per token',
        ...(withAccuracy
          ? [
              `accuracy${rows.withChoices < rows.scored ? ` (${formatCount(rows.withChoices)} rows with choices)` : ''}`,
            ]
          : []),
      ],
      ...lines.map(([name, { nll, accuracy }, format]) => [
        name,
        cell(nll, format),
        ...(accuracy ? [cell(accuracy, format)] : []),
      ]),
    ]),
  );
  output.line();
  const each = generated.draws.map(
    ({ nll, accuracy }) => `${plain(nll)}${accuracy === undefined ? '' : ` (${plain(accuracy)})`}`,
  );
  output.line(`each adapter: ${each.join(', ')}`);
  output.line('intervals: 95 %, over rows; differences row by row');
  output.line();
  output.line(verdict.sentence);
}

const plain = (value: number) => value.toFixed(4);

function cell({ value, low, high }: Estimate, format: (value: number) => string): string {
  return `${format(value)}  [${format(low)}, ${format(high)}]`;
}

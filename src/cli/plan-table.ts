/** How the ways to compute a decoder's convolutions are shown. */
import type { Tuning } from '../models/import/dnd/tune.ts';
import type { ConvolutionForm, DndFacts, Generator, PlannedConvolution } from '../models/manifest.ts';
import { formatBytes, formatTable } from './output.ts';

/** A decoder's plan in a line: how many convolutions are spectral, what that saves, and what decided. */
export function planSummary(
  { plan, tuned }: Pick<DndFacts, 'plan' | 'tuned'>,
  { multiplyAdds }: Pick<Generator, 'multiplyAdds'>,
): string {
  const spectral = plan.filter(({ form }) => form.form === 'spectral').length;
  if (spectral === 0) return 'every convolution direct';
  const planned = plan.reduce((sum, one) => sum + one.multiplyAdds, 0);
  const decided = tuned ? 'times taken at import' : 'a model of their costs';
  const saving = `${(multiplyAdds / planned).toFixed(1)} times fewer multiply-adds`;
  return `${spectral} of ${plan.length} convolutions through spectra, ${saving}, chosen by ${decided}`;
}

/** A decoder's plan as a table, a convolution a row. */
export function planTable(plan: readonly PlannedConvolution[]): string {
  return formatTable([
    ['convolution', 'form', 'tiles', 'products', 'kernel', 'error'],
    ...plan.map(({ name, form, weightBytes, error }) => [
      name,
      form.form,
      form.form === 'spectral' ? form.tiles.join('×') : '',
      form.form === 'spectral' ? String(form.products) : '',
      formatBytes(weightBytes),
      error === undefined ? '' : error.toExponential(1),
    ]),
  ]);
}

/** Other processes' share of the processors from which measured times are doubtful. */
const BUSY_SHARE = 0.1;

/**
 * What tuning changed: a line with the sums, a table of the convolutions that are computed in another way, and a warning where
 * other processes took much of the processors' time, `otherShare` from 0 to 1.
 */
export function tuningReport(tuning: Tuning, otherShare: number): string[] {
  const { modelledSeconds, untunedSeconds, tunedSeconds, changes } = tuning;
  const seconds = (value: number) => value.toFixed(value < 1 ? 3 : 1);
  const rows = changes.map(({ name, from, to }) => [
    name,
    formatForm(from.form),
    seconds(from.seconds),
    formatForm(to.form),
    seconds(to.seconds),
  ]);
  const lines = [
    `tuned: ${seconds(tunedSeconds)} s of convolutions a decode as timed here; ` +
      `untuned ${seconds(untunedSeconds)} s, by the model ${seconds(modelledSeconds)} s`,
    rows.length > 0 ? formatTable([['changed', 'untuned', 's', 'tuned', 's'], ...rows]) : 'nothing changed',
  ];
  if (otherShare > BUSY_SHARE) {
    const percent = Math.round(100 * otherShare);
    lines.push(`! Other processes took ${percent} % of the processors meanwhile; tune on an idle machine.`);
  }
  return lines;
}

function formatForm(form: ConvolutionForm): string {
  return form.form === 'direct' ? 'direct' : `${form.tiles.join('×')} tiles, ${form.products} products`;
}

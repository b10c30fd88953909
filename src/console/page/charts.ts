/** Charts in SVG, each with its numbers in words for those who do not see it. */
import { formatNumber, html } from './ui.ts';

const CELL = { width: 26, height: 20 };
const LEFT = 86;
const STEPS = 8;

/** Layers across, modules down; darker is larger. */
export function HeatMap({ norms }: { norms: Readonly<Record<string, number>> }) {
  const cells = Object.entries(norms).map(([path, norm]) => {
    const [, layer = '0', module = path] = /\.(\d+)\.(.+)$/.exec(path) ?? [];
    return { layer: Number(layer), module: module.split('.').at(-1)!, norm };
  });
  const layers = [...new Set(cells.map(({ layer }) => layer))].sort((p, q) => p - q);
  const modules = [...new Set(cells.map(({ module }) => module))];
  const largest = Math.max(...cells.map(({ norm }) => norm), 0);
  const top = cells.reduce((best, cell) => (cell.norm > best.norm ? cell : best), cells[0]!);
  const width = LEFT + layers.length * CELL.width + 4;
  const height = modules.length * CELL.height + 24;
  const about = `‖ΔW‖ of ${modules.length} modules in ${layers.length} layers, from ${formatNumber(Math.min(...cells.map(({ norm }) => norm)))} to ${formatNumber(largest)}; the largest is ${top.module} of layer ${top.layer}.`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Heat map"><svg class="chart" role="img" aria-label=${about} viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height}>
      ${modules.map((module, row) => html`<text x=${LEFT - 6} y=${row * CELL.height + 14} text-anchor="end">${module}</text>`)}
      ${cells.map(({ layer, module, norm }) => {
        const step = largest > 0 ? Math.min(STEPS - 1, Math.floor((norm / largest) * STEPS)) : 0;
        return html`<rect class=${`heat-${step}`} x=${LEFT + layers.indexOf(layer) * CELL.width} y=${modules.indexOf(module) * CELL.height} width=${CELL.width - 1} height=${CELL.height - 1}><title>${module}, layer ${layer}: ${formatNumber(norm)}</title></rect>`;
      })}
      ${layers.map((layer, column) => layer % 5 === 0 && html`<text x=${LEFT + column * CELL.width + CELL.width / 2} y=${modules.length * CELL.height + 16} text-anchor="middle">${layer}</text>`)}
    </svg></div><p class="about">${about}</p>`;
}

const BINS = 20;

/** How many values lie where. */
export function Histogram({ values }: { values: readonly number[] }) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const counts = new Array<number>(BINS).fill(0);
  for (const value of values)
    counts[high > low ? Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS)) : 0]! += 1;
  const most = Math.max(...counts);
  const sorted = [...values].sort((p, q) => p - q);
  const about = `${values.length} modules; half of them lie below ${formatNumber(sorted[Math.floor(values.length / 2)] ?? 0)}.`;
  return html`<svg class="chart wide" role="img" aria-label=${about} viewBox="0 0 400 120">
      ${counts.map((count, index) => html`<rect class="bar" x=${index * 20} y=${100 - (count / most) * 95} width="18" height=${(count / most) * 95} />`)}
      <text x="0" y="116">${formatNumber(low)}</text><text x="400" y="116" text-anchor="end">${formatNumber(high)}</text>
    </svg><p class="about">${about}</p>`;
}

/** A value with its interval. */
export type Figure = {
  readonly label: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
  readonly strong?: boolean;
};

const WIDTH = 360;
const ROW = 38;

/** Values below each other on one axis that begins at 0, intervals drawn and told: narrow enough for a phone as it is. */
export function Intervals({ figures, label }: { figures: readonly Figure[]; label: string }) {
  const most = Math.max(...figures.map(({ value, high }) => high ?? value), 0) * 1.02 || 1;
  const x = (value: number) => 5 + (value / most) * (WIDTH - 10);
  // With as many digits each, so that they can be compared at a glance.
  const told = ({ value, low, high }: Figure) =>
    low === undefined || high === undefined
      ? value.toPrecision(3)
      : `${value.toPrecision(3)} (${low.toPrecision(3)} to ${high.toPrecision(3)})`;
  const words = figures.map((figure) => `${figure.label} ${told(figure)}`).join(', ');
  return html`<svg class="chart intervals" role="img" aria-label=${`${label}: ${words}`} viewBox=${`0 0 ${WIDTH} ${figures.length * ROW}`}>
      ${figures.map((figure, row) => {
        const { label: name, value, low, high, strong } = figure;
        const y = row * ROW + 24;
        return html`
        <text class=${strong ? 'strong' : ''} x="0" y=${row * ROW + 13}>${name}</text>
        <text class=${strong ? 'strong' : ''} x=${WIDTH} y=${row * ROW + 13} text-anchor="end">${told(figure)}</text>
        <line class="axis" x1=${x(0)} x2=${WIDTH} y1=${y} y2=${y} />
        ${low !== undefined && high !== undefined && html`<line class="interval" x1=${x(low)} x2=${x(high)} y1=${y} y2=${y} />`}
        <circle class=${strong ? 'dot strong' : 'dot'} cx=${x(value)} cy=${y} r="4.500" />`;
      })}
    </svg>`;
}

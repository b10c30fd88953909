/** What every benchmark prints: the machine's facts and a Markdown table. */
import { availableParallelism, cpus, totalmem } from 'node:os';
import type { BenchOptions } from './options.ts';

/** A benchmark answers one question with rows of figures. */
export type Benchmark = {
  readonly question: string;
  readonly columns: readonly string[];
  /** True where it runs only when it is named: it takes minutes, or wants what is not in the repository. */
  readonly onRequest?: true;
  run(options: BenchOptions): Promise<readonly (readonly string[])[]>;
};

/** The machine in one line, so that figures are never read without it. */
export function machineFacts(): string {
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? process.arch}, ${memory}, ${process.platform}, Node ${process.versions.node}`;
}

/** A Markdown table. */
export function markdownTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

/** The middle of the values (mean of the two middle ones for an even count). */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which that share of the values is; NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** `min … median … max` with a unit. */
export function spread(values: readonly number[], unit: string, digits = 1): string {
  return `${median(values).toFixed(digits)} ${unit} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
}

/** Bytes as `7.2 GiB`. */
export function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** A relative error as `1.2e-6`. */
export function relative(error: number): string {
  return error.toExponential(1);
}

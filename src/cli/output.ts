/** What commands write to: lines for people on standard output, progress on standard error. */
import { Presets, SingleBar } from 'cli-progress';

/** A progress bar over 0…1. */
export type ProgressBar = { update(fraction: number, label: string): void; stop(): void };

/** Where a command writes. Tests pass collectors. */
export type Output = {
  line(text?: string): void;
  /** A remark on standard error, so that what a program reads stays clean. */
  note(text: string): void;
  progress(title: string): ProgressBar;
};

/** Standard output for lines; a bar on standard error where that is a terminal, else a line a tenth. */
export function createOutput(
  out: NodeJS.WriteStream = process.stdout,
  err: NodeJS.WriteStream = process.stderr,
): Output {
  return {
    line: (text = '') => void out.write(`${text}\n`),
    note: (text) => void err.write(`${text}\n`),
    progress(title) {
      const bar = new SingleBar(
        {
          format: `${title} {bar} {percentage}% {label}`,
          stream: err,
          noTTYOutput: true,
          notTTYSchedule: 2000,
          hideCursor: true,
          barsize: 30,
        },
        Presets.shades_classic,
      );
      bar.start(100, 0, { label: '' });
      return {
        update: (fraction, label) => bar.update(Math.round(fraction * 100), { label }),
        stop: () => bar.stop(),
      };
    },
  };
}

/** `12582912` → `12.0 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** `1234567` → `1,234,567`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** Rows of cells as aligned columns. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

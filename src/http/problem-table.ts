/** The table of all failures for people: `docs/troubleshooting.md`. */
import { PROBLEMS, type ProblemSpec } from './problem.ts';

/** Every failure as a row of Markdown, code, status and what to do, in the order of the codes. */
export function renderProblemTable(): string {
  const rows = Object.entries<ProblemSpec>(PROBLEMS)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { status, meaning }]) => `| \`${code}\` | ${status} | ${meaning.replaceAll('|', '\\|')} |`);
  return ['| code | status | what to do |', '|---|---|---|', ...rows].join('\n');
}

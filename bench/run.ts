/** `npm run bench [NAME …]`: runs the benchmarks (all without names) and prints Markdown. */
import { acceptRate } from './accept-rate.ts';
import { adapterWriting } from './adapter-writing.ts';
import { eventLoopGap } from './event-loop-gap.ts';
import { type Benchmark, machineFacts, markdownTable } from './report.ts';
import { serviceOverhead } from './service-overhead.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  'service-overhead': serviceOverhead,
  'accept-rate': acceptRate,
  'event-loop-gap': eventLoopGap,
  'adapter-writing': adapterWriting,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0)
  throw new Error(
    `no such benchmark: ${unknown.join(', ')}; there are ${Object.keys(BENCHMARKS).join(', ')}`,
  );

console.log(`${new Date().toISOString().slice(0, 10)}, ${machineFacts()}\n`);
for (const name of wanted.length > 0 ? wanted : Object.keys(BENCHMARKS)) {
  const { question, columns, run } = BENCHMARKS[name]!;
  console.log(`**${name}**: ${question}\n`);
  console.log(`${markdownTable(columns, await run())}\n`);
}

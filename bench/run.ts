/** `npm run bench [-- NAME … OPTION …]`: runs the benchmarks (without names, the short ones) and prints Markdown. */
import { LoradropError } from '../src/base/errors.ts';
import { MissingProgram } from '../test/helpers/services.ts';
import { acceptRate } from './accept-rate.ts';
import { adapterWriting } from './adapter-writing.ts';
import { cuda } from './cuda.ts';
import { decoder } from './decoder.ts';
import { benchErrors } from './errors.ts';
import { eventLoopGap } from './event-loop-gap.ts';
import { fleetCheck, fleetCosts, fleetPlan } from './fleet.ts';
import { followers } from './followers.ts';
import { generate } from './generate.ts';
import { idleConnections } from './idle-connections.ts';
import { load } from './load.ts';
import { parseOptions } from './options.ts';
import { overload } from './overload.ts';
import { readingPrompts } from './reading-prompts.ts';
import { type Benchmark, machineFacts, markdownTable } from './report.ts';
import { s3Upload } from './s3-upload.ts';
import { serviceOverhead } from './service-overhead.ts';
import { soak } from './soak.ts';
import { startup } from './startup.ts';
import { storing } from './storing.ts';
import { textToLora } from './text-to-lora.ts';
import { throughput } from './throughput.ts';
import { traces } from './traces.ts';
import { turns } from './turns.ts';
import { webhooks } from './webhooks.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  'service-overhead': serviceOverhead,
  storing,
  throughput,
  'accept-rate': acceptRate,
  turns,
  traces,
  'event-loop-gap': eventLoopGap,
  'adapter-writing': adapterWriting,
  'reading-prompts': readingPrompts,
  decoder,
  generate,
  'text-to-lora': textToLora,
  startup,
  webhooks,
  's3-upload': s3Upload,
  cuda,
  'idle-connections': idleConnections,
  load,
  followers,
  overload,
  soak,
  'fleet-check': fleetCheck,
  'fleet-costs': fleetCosts,
  'fleet-plan': fleetPlan,
};

// What benchmarks have made goes with the process, whatever ends it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
try {
  const { names, options } = parseOptions(process.argv.slice(2));
  for (const name of names) {
    if (!(name in BENCHMARKS)) {
      throw benchErrors.usage(`There is no ${name}; there are ${Object.keys(BENCHMARKS).join(', ')}.`);
    }
  }
  const everyTime = Object.keys(BENCHMARKS).filter((name) => !BENCHMARKS[name]!.onRequest);
  console.log(`${new Date().toISOString().slice(0, 10)}, ${machineFacts()}\n`);
  for (const name of names.length > 0 ? names : everyTime) {
    const { question, columns, run } = BENCHMARKS[name]!;
    console.log(`**${name}**: ${question}\n`);
    try {
      console.log(`${markdownTable(columns, await run(options))}\n`);
    } catch (error) {
      if (!(error instanceof MissingProgram)) throw error;
      console.log(`Not measured: ${error.message}\n`);
      process.exitCode = 1;
    }
  }
} catch (error) {
  if (!(error instanceof LoradropError)) throw error;
  console.error(`${error.title} ${error.message}`);
  process.exitCode = 1;
}

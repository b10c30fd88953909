/**
 * A whole fleet that is broken in every way there is while clients use it: no accepted job, adapter or webhook is lost, and
 * nothing is left over. By default a few cheap faults on Redis; `CHAOS_FAULTS` sets how many of all kinds, and then:
 *
 * - `CHAOS_QUEUES`: `redis,postgres,sentinel` (default), which share the faults; `CHAOS_SEED`: their order
 * - `CHAOS_KINDS`: a regular expression of the kinds to do
 * - `CHAOS_INTERVAL_MS` (2500): between two faults; `CHAOS_JOBS_PER_SECOND` (3)
 * - `CHAOS_APIS`, `CHAOS_WORKERS` (2 each): processes
 * - `CHAOS_REPORT`: directory for the reports, as JSON and text
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { seededRandom } from '../../src/base/random.ts';
import { startLoad } from './chaos/clients.ts';
import { FAULT_KINDS } from './chaos/faults.ts';
import { allReady, type StoreKind, startChaosFleet } from './chaos/fleet.ts';
import { injectFaults } from './chaos/inject.ts';
import { checkInvariants, holdingsOf } from './chaos/invariants.ts';
import type { QueueKind } from './chaos/queue-servers.ts';
import { makeReport, reportText } from './chaos/report.ts';

const number = (name: string, fallback: number) => Number(process.env[name] ?? fallback);
const LONG = process.env['CHAOS_FAULTS'] !== undefined;
const FAULTS = number('CHAOS_FAULTS', 9);
const SEED = number('CHAOS_SEED', 1);
const INTERVAL_MS = number('CHAOS_INTERVAL_MS', LONG ? 2500 : 1500);
const QUEUES = (process.env['CHAOS_QUEUES'] ?? (LONG ? 'redis,postgres,sentinel' : 'redis')).split(
  ',',
) as QueueKind[];
const KINDS = new RegExp(process.env['CHAOS_KINDS'] ?? '');
const REPORT_DIRECTORY = process.env['CHAOS_REPORT'];
/** Both kinds of store are broken, each under one kind of queue at least. */
const STORE_OF: Readonly<Record<QueueKind, StoreKind>> = { redis: 's3', postgres: 'disk', sentinel: 's3' };
/** What starts and the looks at the end take, beside the faults. */
const ENDS_MS = 3_600_000;

for (const [nth, queue] of QUEUES.entries()) {
  const count = Math.floor(FAULTS / QUEUES.length) + (nth < FAULTS % QUEUES.length ? 1 : 0);
  test(`${count} faults of a fleet on ${queue}: nothing is lost`, {
    timeout: ENDS_MS + count * (INTERVAL_MS + 10_000),
  }, async (t) => {
    const fleet = await startChaosFleet(t, {
      queue,
      store: STORE_OF[queue],
      apis: number('CHAOS_APIS', LONG ? 2 : 1),
      workers: number('CHAOS_WORKERS', 2),
    });
    if (!fleet) return;
    const wanted = FAULT_KINDS.filter(({ name, cheap }) => KINDS.test(name) && (LONG || cheap));
    const missing = wanted.flatMap((kind) => {
      const why = kind.missing?.(fleet);
      return why === undefined ? [] : [[kind.name, why] as const];
    });
    const kinds = wanted.filter(({ name }) => !missing.some(([other]) => other === name));
    const load = startLoad({
      apis: fleet.processes.filter(({ role }) => role === 'api').map(({ url }) => url),
      webhook: `http://127.0.0.1:${fleet.wayToReceiver.port}/hook`,
      random: seededRandom(SEED),
      jobsPerSecond: number('CHAOS_JOBS_PER_SECOND', 3),
      maxInFlight: 40,
      largeEvery: 12,
    });
    // Memory and handles are compared with those of processes that have worked.
    while (load.jobs.filter(({ checked }) => checked).length < 12) await load.nextFinished();
    const before = holdingsOf(fleet);

    const injection = await injectFaults({
      fleet,
      load,
      kinds,
      count,
      everyMs: INTERVAL_MS,
      random: seededRandom(SEED),
      ...(LONG && {
        onFault: ({ kind, recoveryMs, backMs }, done) =>
          process.stderr.write(`${done}/${count} ${kind}: next job ${recoveryMs} ms, back ${backMs} ms\n`),
      }),
    });
    await allReady(fleet);
    await load.finish();
    const findings = await checkInvariants(fleet, load, before);
    const report = makeReport({
      fleet,
      load,
      injection,
      findings,
      seed: SEED,
      left: Object.fromEntries(missing),
    });
    const text = reportText(report);
    t.comment(text);
    if (LONG) process.stderr.write(`${text}\n`);
    if (REPORT_DIRECTORY !== undefined) {
      await mkdir(REPORT_DIRECTORY, { recursive: true });
      const path = join(REPORT_DIRECTORY, `chaos-${queue}`);
      await writeFile(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`);
      await writeFile(`${path}.txt`, `${text}\n`);
    }
    t.strictSame(report.violations, [], 'nothing that must not happen has happened');
    t.equal(report.faults, count);
    t.ok(report.jobs.accepted > count, `${report.jobs.accepted} jobs were accepted`);
  });
}

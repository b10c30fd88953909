/** The figures of a run: kinds × counts × lost × recovery. */
import type { ClientJob, Load } from './clients.ts';
import type { Fleet } from './fleet.ts';
import type { DoneFault, Injection } from './inject.ts';
import type { Findings } from './invariants.ts';

/** One kind's row. Times in milliseconds. */
type Row = {
  readonly kind: string;
  readonly count: number;
  /** Jobs lost whose life overlapped with a fault of the kind. */
  readonly lost: number;
  readonly recoveryP50Ms: number;
  readonly recoveryMaxMs: number;
  readonly backP50Ms: number;
  readonly backMaxMs: number;
};

/** A run, as it is written. */
export type ChaosReport = ReturnType<typeof makeReport>;

/** Puts a run together. */
export function makeReport(options: {
  readonly fleet: Fleet;
  readonly load: Load;
  readonly injection: Injection;
  readonly findings: Findings;
  readonly seed: number;
  readonly left: Readonly<Record<string, string>>;
}) {
  const { fleet, load, injection, findings, seed, left } = options;
  const { done, startedAt } = injection;
  const lostJobs = new Set(findings.violations.flatMap(({ job }) => (job ? [job] : [])));
  const accepted = load.jobs.filter(({ id }) => id !== undefined);
  const rows = [...Map.groupBy(done, ({ kind }) => kind)]
    .map(([kind, faults]): Row => {
      const [recoveries, backs] = [
        faults.map(({ recoveryMs }) => recoveryMs),
        faults.map(({ backMs }) => backMs),
      ];
      return {
        kind,
        count: faults.length,
        lost: [...lostJobs].filter((job) => faults.some((fault) => overlaps(job, fault, startedAt))).length,
        recoveryP50Ms: at(recoveries, 0.5),
        recoveryMaxMs: at(recoveries, 1),
        backP50Ms: at(backs, 0.5),
        backMaxMs: at(backs, 1),
      };
    })
    .toSorted((a, b) => a.kind.localeCompare(b.kind));
  const waits = accepted.flatMap(({ acceptedAt, finishedAt }) =>
    finishedAt ? [finishedAt - acceptedAt!] : [],
  );
  const finishes = accepted.flatMap(({ finishedAt }) => finishedAt ?? []).toSorted((a, b) => a - b);
  return {
    ...fleet.options,
    queueKind: fleet.options.queue,
    seed,
    faults: done.length,
    seconds: Math.round(done.reduce((last, { overAtMs }) => Math.max(last, overAtMs), 0) / 1000),
    lost: lostJobs.size,
    rows,
    notDone: left,
    jobs: {
      begun: load.jobs.length,
      accepted: accepted.length,
      ...Object.fromEntries(
        [...Map.groupBy(accepted, ({ final }) => final?.status ?? 'unknown')].map(([status, { length }]) => [
          status,
          length,
        ]),
      ),
      secondsP50: at(waits, 0.5) / 1000,
      secondsP99: at(waits, 0.99) / 1000,
      secondsMax: at(waits, 1) / 1000,
      longestPauseSeconds:
        finishes.reduce((longest, time, nth) => Math.max(longest, time - (finishes[nth - 1] ?? time)), 0) /
        1000,
    },
    webhooks: {
      promised: findings.promised,
      told: findings.told,
      repeats: findings.repeats,
      refusedByTime: fleet.receiver.refusedByTime(),
    },
    repeatedRequests: Object.fromEntries(load.repeated),
    holdings: findings.holdings,
    errorsLogged: findings.logged,
    violations: findings.violations.map(({ job, what }) => (job ? `${job.id ?? job.key}: ${what}` : what)),
    done,
  };
}

/** The report as text: a table and what to know about it. */
export function reportText(report: ChaosReport): string {
  const columns = ['kind', 'faults', 'lost', 'next job p50', 'max', 'back p50', 'max'];
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const rows = report.rows.map((row) => [
    row.kind,
    String(row.count),
    String(row.lost),
    seconds(row.recoveryP50Ms),
    seconds(row.recoveryMaxMs),
    seconds(row.backP50Ms),
    seconds(row.backMaxMs),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const { jobs, webhooks, holdings } = report;
  return [
    `${report.faults} faults in ${report.seconds} s on ${report.queue} with the store ${report.store} (${report.apis} API, ${report.workers} worker processes; seed ${report.seed}): ${report.lost} lost of ${jobs.accepted} accepted jobs`,
    '',
    line(columns),
    line(columns.map(() => '---')),
    ...rows.map(line),
    '',
    `jobs: ${JSON.stringify(jobs)}`,
    `webhooks: ${JSON.stringify(webhooks)}`,
    `requests tried again: ${JSON.stringify(report.repeatedRequests)}`,
    ...Object.entries(holdings).map(
      ([name, { before, after }]) =>
        `${name}: ${before.residentBytes >> 20} → ${after.residentBytes >> 20} MiB, ${before.handles} → ${after.handles} handles, ${before.children} → ${after.children} children`,
    ),
    ...Object.entries(report.errorsLogged).map(([what, count]) => `logged ${count} ×: ${what}`),
    ...Object.entries(report.notDone).map(([kind, why]) => `not done: ${kind} (${why})`),
    ...report.violations.map((what) => `VIOLATION ${what}`),
  ].join('\n');
}

function overlaps(
  { submittedAt, finishedAt = Number.POSITIVE_INFINITY }: ClientJob,
  fault: DoneFault,
  startedAt: number,
) {
  return submittedAt < startedAt + fault.overAtMs + fault.backMs && finishedAt > startedAt + fault.beganAtMs;
}

/** The value at a share of the sorted ones. */
function at(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
}

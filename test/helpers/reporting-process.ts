/** Processes of fixtures, which are told their task as JSON and report what happens to them. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { until } from './loradrop-process.ts';

const FIXTURES = join(import.meta.dirname, '..', 'jobs', 'fixtures');

/** Starts `fixture` of `test/jobs/fixtures`. Killed at the end of the test. */
export function startReporting<Report extends { readonly event: string }>(
  t: Test,
  fixture: string,
  { task, environment = {} }: { task: object; environment?: Readonly<Record<string, string>> },
) {
  const child = fork(join(FIXTURES, fixture), [JSON.stringify(task)], {
    env: { ...process.env, ...environment },
  });
  const reports: Report[] = [];
  child.on('message', (report: Report) => reports.push(report));
  const ended = once(child, 'exit').then(([, signal]) => signal as NodeJS.Signals | null);
  const find = (event: Report['event']) => reports.find((each) => each.event === event);
  const kill = async () => {
    child.kill('SIGKILL');
    return ended;
  };
  t.teardown(kill);
  return {
    find,
    kill,
    ended,
    /** The report of that kind, or undefined when the process ends before. */
    async told(event: Report['event']) {
      const over = () => child.signalCode !== null || child.exitCode !== null;
      await until(async () => find(event) !== undefined || over(), 120_000);
      return find(event);
    },
  };
}

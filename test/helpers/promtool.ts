/** Prometheus's own checker, which tests hand metrics, rules and queries to. */
import { spawnSync } from 'node:child_process';
import type { Test } from 'tap';
import { findProgram } from './services.ts';

/** What a run of promtool printed, both streams together. */
export type PromtoolRun = { readonly ok: boolean; readonly printed: string };

/** Runs promtool. */
export type Promtool = (args: readonly string[], input?: string) => PromtoolRun;

/** Finds promtool. Without it the test is skipped, in a loud line, and undefined comes back; in CI it fails. */
export function promtoolForTest(t: Test): Promtool | undefined {
  const program = findProgram('promtool');
  if (!program) {
    const reason = 'promtool is not installed; run: node test/setup-services.ts';
    if (process.env['CI']) t.fail(reason);
    else t.pass('the real promtool', { skip: `NOT TESTED: ${reason}` });
    return undefined;
  }
  return (args, input = '') => {
    const { status, stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8' });
    return { ok: status === 0, printed: `${stdout}${stderr}` };
  };
}

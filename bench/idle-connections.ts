/** Do ten thousand idle connections stop a probe from being answered? */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load.ts';
import type { IdleLoad, IdleResult } from './idle-load.ts';
import { type Benchmark, spread } from './report.ts';
import { withService } from './service.ts';

const CONNECTIONS = 10_000;
const DEFAULT_LIMIT = loadConfig({}, {}).maxConnections;
/** As long as a run may take: no connection is to be closed for being late meanwhile. */
const PATIENCE_MS = 600_000;

export const idleConnections: Benchmark = {
  question: `GET /livez and /readyz, each on a connection of its own, beside ${CONNECTIONS} idle connections from another process (needs \`ulimit -n\` of 2 × ${CONNECTIONS})`,
  columns: ['idle connections', 'MAX_CONNECTIONS', 'still open', '/livez', '/readyz', 'not answered'],
  onRequest: true,
  async run() {
    const rows: string[][] = [];
    for (const [connections, kind, limit] of [
      [0, 'silent', DEFAULT_LIMIT],
      [CONNECTIONS, 'silent', 2 * CONNECTIONS],
      [CONNECTIONS, 'silent', DEFAULT_LIMIT],
      [CONNECTIONS, 'half a head', DEFAULT_LIMIT],
      [CONNECTIONS, 'kept alive', 2 * CONNECTIONS],
      [CONNECTIONS, 'kept alive', DEFAULT_LIMIT],
    ] as const) {
      rows.push(await measure(connections, kind, limit));
    }
    return rows;
  },
};

function measure(connections: number, kind: IdleLoad, limit: number): Promise<string[]> {
  const settings = {
    maxConnections: limit,
    headersTimeoutMs: PATIENCE_MS,
    requestTimeoutMs: PATIENCE_MS,
    keepAliveMs: PATIENCE_MS,
  };
  return withService(settings, async ({ url }) => {
    const load = fork(join(import.meta.dirname, 'idle-load.ts'), [url, String(connections), kind]);
    const [{ open, livezMs, readyzMs, failed }] = (await once(load, 'message')) as [IdleResult];
    load.kill('SIGKILL');
    await once(load, 'exit');
    return [
      connections === 0 ? 'none' : `${connections}, ${kind}`,
      String(limit),
      String(open),
      spread(livezMs, 'ms'),
      spread(readyzMs, 'ms'),
      String(failed),
    ];
  });
}

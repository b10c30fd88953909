import { test } from 'tap';
import type { Logger } from '../../src/observability/logger.ts';
import { createOutageLog } from '../../src/observability/outage-log.ts';

test('an outage is told at its start and its end, and a refusal once', async (t) => {
  const lines: string[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    void lines.push(`${level} ${message}${'awayMs' in fields ? ` after ${fields.awayMs} ms` : ''}`);
  const logger = { warn: write('warn'), info: write('info'), debug: write('debug') } as unknown as Logger;
  let now = 1000;
  const log = createOutageLog({ logger, what: 'It', now: () => now });
  log.reached();
  t.strictSame(lines, [], 'what was never away is not back');
  const error = new Error('gone');
  log.failed(error);
  log.failed(error);
  log.failed(error, 'NOAUTH');
  log.failed(error, 'NOAUTH');
  now = 3500;
  log.reached();
  log.reached();
  log.failed(error, 'NOAUTH');
  log.failed(error);
  t.strictSame(lines, [
    'warn It cannot be reached',
    'debug It cannot be reached',
    'warn It refuses the connection: NOAUTH',
    'debug It refuses the connection: NOAUTH',
    'info It answers again after 2500 ms',
    'warn It refuses the connection: NOAUTH',
    'debug It cannot be reached',
  ]);
});

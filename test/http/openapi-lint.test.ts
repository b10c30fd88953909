import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');

test('a linter of OpenAPI documents finds no error', async (t) => {
  const { stdout } = await run(
    join(root, 'node_modules', '.bin', 'redocly'),
    ['lint', 'openapi/openapi.json', '--extends', 'recommended', '--format', 'json'],
    { cwd: root, env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' } },
  );
  const { totals, problems } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    totals: { errors: number };
    problems: { message: string; severity: string; ruleId: string }[];
  };
  t.equal(totals.errors, 0);
  // Pausing and resuming fine-tuning, which are always refused; the schema of progress events, which OpenAPI cannot tie to an
  // event stream.
  t.strictSame(
    problems.map(({ ruleId }) => ruleId),
    ['operation-2xx-response', 'operation-2xx-response', 'no-unused-components'],
  );
});

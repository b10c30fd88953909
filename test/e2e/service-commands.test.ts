/** The commands for a running service against a fleet: an API and a worker, Redis between them, adapters in object storage. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { sha256File } from '../../src/base/digest.ts';
import type { AdapterSummary, Job, JobProgress } from '../../src/client/client.ts';
import { startFleet } from '../faults/fleet.ts';
import { until } from '../helpers/loradrop-process.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const PROMPTS = join(import.meta.dirname, '../../examples/science-prompts.jsonl');

test('submit, watch, get on a fleet whose worker comes late and whose API is replaced meanwhile', async (t) => {
  const fleet = await startFleet(t);
  if (!fleet) return;
  const first = await fleet.start('serve');
  const loradrop = (url: string, ...args: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const env = { PATH: process.env['PATH'], LORADROP_URL: url };
      execFile(process.execPath, [MAIN, ...args], { env }, (error, out, err) =>
        resolve({ code: error ? Number(error.code) : 0, out, err }),
      );
    });

  const submitted = await loradrop(first.url, 'submit', PROMPTS, '--seed', '7', '--count', '2', '--json');
  t.equal(submitted.code, 0, submitted.err);
  const accepted = JSON.parse(submitted.out) as Job;
  t.equal(accepted.status, 'queued', 'there is no worker yet');

  const watching = spawn(process.execPath, [MAIN, 'watch', accepted.id, '--json', '--url', first.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let seen = '';
  watching.stdout.on('data', (bytes) => (seen += bytes));
  const over = once(watching, 'close');
  await until(async () => seen.includes('"queued"'));
  await fleet.start('worker');
  t.equal((await over)[0], 0);
  const lines = seen
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as JobProgress | Job);
  t.match(lines.at(-1), { id: accepted.id, status: 'succeeded', adapters: { length: 2 } });
  t.ok(new Set(lines.map(({ stage }) => stage)).size > 2, 'it saw stages of the work');

  // Any API of the fleet has it.
  await first.end('SIGTERM');
  const second = await fleet.start('serve');
  const directory = t.testdir({});
  const { adapters } = lines.at(-1) as Job;
  for (const { id, sha256 } of adapters) {
    const out = join(directory, id);
    const fetched = await loradrop(second.url, 'get', id, '--out', out);
    t.equal(fetched.code, 0, fetched.err);
    t.strictSame((await readdir(out)).sort(), ['adapter_config.json', 'adapter_model.safetensors']);
    t.equal((await sha256File(join(out, 'adapter_model.safetensors'))).sha256, sha256);
  }
  const listed = (await loradrop(second.url, 'adapters', 'list', '--json')).out.trim().split('\n');
  t.strictSame(
    listed.map((line) => (JSON.parse(line) as AdapterSummary).id).sort(),
    adapters.map(({ id }) => id).sort(),
  );
  const [{ id } = { id: '' }] = adapters;
  t.match((await loradrop(second.url, 'adapters', 'delete', id)).out, `${id} deleted`);
  const gone = await loradrop(second.url, 'get', id, '--out', join(directory, 'gone'));
  t.equal(gone.code, 1);
  t.match(gone.err, /adapter-not-found/);
});

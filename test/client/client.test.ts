import { glob, mkdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { CLIENT_TYPES, renderClientTypes } from '../../packaging/client-types.ts';
import {
  createClient,
  type Job,
  JobEndedError,
  ProblemError,
  UnreachableError,
} from '../../src/client/client.ts';
import { startLoradrop } from '../helpers/loradrop-process.ts';
import { startRedis } from '../helpers/redis.ts';

const PROMPTS = ['Which gas do plants take in?', 'Why does ice float on water?'];

/** What is done to one request, and whether the service gets it. */
type Fault = (request: IncomingMessage, response: ServerResponse) => 'pass' | 'answered' | 'cut';

/** A proxy between client and service: it can answer for the service, or cut an answer in its middle. */
async function startProxy(t: Test, target: () => string) {
  const seen: { method: string; url: string; headers: IncomingMessage['headers'] }[] = [];
  const proxy = { url: '', seen, fault: (() => 'pass') as Fault };
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    seen.push({ method, url, headers });
    const what = proxy.fault(request, response);
    if (what === 'answered') return;
    const { host } = new URL(target());
    const onward = send(`${target()}${url}`, { method, headers: { ...headers, host } }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      if (what === 'pass') {
        answer.pipe(response);
        return;
      }
      answer.once('data', (bytes: Buffer) => {
        response.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), () => response.destroy());
        answer.destroy();
      });
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/behind/a/gateway`;
  return proxy;
}

/** The fault for the first requests that match, and none for the others. */
const first = (times: number, matches: (request: IncomingMessage) => boolean, fault: Fault): Fault => {
  let left = times;
  return (request, response) => (matches(request) && left-- > 0 ? fault(request, response) : 'pass');
};

test('the shapes of the client are those of the API', async (t) => {
  t.ok(
    (await readFile(CLIENT_TYPES, 'utf8')) === (await renderClientTypes()),
    'npm run docs makes src/client/types.ts anew',
  );
});

test('the client is made of what browsers have', async (t) => {
  const directory = join(import.meta.dirname, '../../src/client');
  for await (const file of glob('*.ts', { cwd: directory })) {
    const text = await readFile(join(directory, file), 'utf8');
    for (const [, specifier] of text.matchAll(/from '([^']+)'/g)) t.match(specifier!, /^\.\//, file);
    t.notMatch(text, /\b(process|Buffer|require|__dirname)\b[.(]/, file);
  }
});

test('a fleet on Redis, through a proxy that loses requests and answers', async (t) => {
  const redis = await startRedis(t);
  if (!redis) return;
  const root = t.testdir({});
  await mkdir(join(root, 'data'), { recursive: true });
  const shared = { DATA_DIR: join(root, 'data'), QUEUE_URL: redis.url };
  const [api, other] = await Promise.all([
    startLoradrop(t, 'serve', shared),
    startLoradrop(t, 'serve', shared),
    startLoradrop(t, 'worker', shared),
  ]);
  let turn = 0;
  const proxy = await startProxy(t, () => [api.url, other.url][turn++ % 2]!);
  const gateway = proxy.url;
  // The gateway's path is the proxy's business.
  const client = createClient({
    url: gateway,
    fetch: (input, init) => fetch(String(input).replace('/behind/a/gateway', ''), init),
  });

  t.equal((await client.listModels())[0]?.default, true);

  proxy.fault = first(
    2,
    ({ method }) => method === 'POST',
    (() => {
      let times = 0;
      return (_request, response) => {
        // The first answer is lost after the service has accepted the job; the second attempt meets overload.
        if (times++ === 0) return 'cut';
        response.writeHead(503, { 'retry-after': '1' }).end();
        return 'answered';
      };
    })(),
  );
  const before = Date.now();
  const accepted = await client.generate({ prompts: PROMPTS, seed: 4, count: 2 });
  t.ok(Date.now() - before >= 1000, 'Retry-After is waited for');
  const posts = proxy.seen.filter(({ method }) => method === 'POST');
  t.equal(posts.length, 3);
  t.equal(new Set(posts.map(({ headers }) => headers['idempotency-key'])).size, 1);
  proxy.fault = () => 'pass';

  proxy.fault = first(
    1,
    ({ url }) => url!.endsWith('/events'),
    () => 'cut',
  );
  const told: number[] = [];
  const job = await client.waitForJob(accepted.id, { onProgress: ({ fraction }) => told.push(fraction) });
  t.equal(job.status, 'succeeded');
  t.same(
    told,
    told.toSorted((a, b) => a - b),
    'progress does not go back',
  );
  const jobs: Job[] = [];
  for await (const each of client.listJobs()) jobs.push(each);
  t.strictSame(
    jobs.map(({ id }) => id),
    [accepted.id],
    'one job, however often it was sent',
  );

  const adapter = await client.getAdapter(job.adapters[0]!.id);
  const weights = adapter.files.find(({ name }) => name.endsWith('.safetensors'))!;
  const isDownload = ({ url }: IncomingMessage) => url!.endsWith(weights.name);
  proxy.fault = first(2, isDownload, () => 'cut');
  proxy.seen.length = 0;
  const bytes = await client.download(adapter.id, weights);
  t.equal(bytes.length, weights.bytes);
  const ranges = proxy.seen.map(({ headers }) => headers.range);
  t.equal(ranges[0], undefined);
  t.match(ranges[1], /^bytes=[1-9]\d*-$/, 'a broken download goes on where it broke');
  t.ok(proxy.seen.every(({ headers }) => headers['if-match'] === `"${weights.sha256}"`));
  proxy.fault = () => 'pass';
  const another = { ...weights, sha256: '0'.repeat(64) };
  await t.rejects(client.download(adapter.id, another), { code: 'precondition-failed', status: 412 });

  const failing = await t.rejects(client.generate({ prompts: [''] }), { code: 'prompts-empty', status: 400 });
  t.type(failing, ProblemError);
  await t.rejects(client.cancelJob(job.id), { code: 'job-finished' });
  const doomed = await client.generate({ prompts: PROMPTS, count: 32, seed: 9 });
  await client.cancelJob(doomed.id);
  const ended = await t.rejects(client.waitForJob(doomed.id), {
    name: 'JobEndedError',
    message: /was canceled/,
  });
  t.type(ended, JobEndedError);

  await client.deleteAdapter(adapter.id);
  await t.rejects(client.getAdapter(adapter.id), { code: 'adapter-not-found' });

  const stop = new AbortController();
  stop.abort(new Error('enough'));
  await t.rejects(client.listModels({ signal: stop.signal }), /enough/);
  const nowhere = createClient({ url: 'http://127.0.0.1:9', retries: 0 });
  const lost = await t.rejects(nowhere.listModels(), { name: 'UnreachableError' });
  t.type(lost, UnreachableError);
});

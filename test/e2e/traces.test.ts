import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { Job } from '../../src/http/schemas.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../helpers/otlp-receiver.ts';
import { startRedis } from '../helpers/redis.ts';
import { buildUntrainedBundle } from '../helpers/untrained-bundle.ts';
import { SECRET, startReceiver } from '../helpers/webhook-receiver.ts';

const PROMPTS = Array.from({ length: 20 }, (_, index) => `Which secret river is number ${index}?`);

/** A client's place in a trace of its own. */
const client = (digit: string, flags = '01') => ({
  traceId: digit.repeat(32),
  spanId: digit.repeat(16),
  traceparent: `00-${digit.repeat(32)}-${digit.repeat(16)}-${flags}`,
});

/** A fleet on a real Redis that sends its traces to a stand-in for a collector, and webhooks to a receiver. */
async function startFleet(t: Test, collector: OtlpReceiver, more: Record<string, string> = {}) {
  const redis = await startRedis(t);
  if (!redis) return undefined;
  const root = t.testdir({});
  await buildUntrainedBundle({ out: join(root, 'bundles', 'untrained'), seed: 0 });
  await mkdir(join(root, 'data'), { recursive: true });
  const secrets = join(root, 'webhook-secrets.json');
  const entry = { owner: 'default', secret: SECRET, createdAt: '2026-11-26T00:00:00.000Z' };
  await writeFile(secrets, JSON.stringify({ version: 1, secrets: [entry] }), { mode: 0o600 });
  const shared = {
    DATA_DIR: join(root, 'data'),
    BUNDLES_DIR: join(root, 'bundles'),
    QUEUE_URL: redis.url,
    WEBHOOK_SECRETS_FILE: secrets,
    WEBHOOK_ALLOW: '127.0.0.1',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    LOG_LEVEL: 'debug',
    ...more,
  };
  const [api, worker] = await Promise.all([
    startLoradrop(t, 'serve', shared),
    startLoradrop(t, 'worker', shared),
  ]);
  const post = async (body: object, headers: Record<string, string> = {}) => {
    const response = await fetch(`${api.url}/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60', ...headers },
      body: JSON.stringify({ prompts: PROMPTS, ...body }),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as Job;
  };
  return { api, worker, post };
}

/** The log lines that name the job, of both processes. */
function linesOf(output: string, jobId: string): Record<string, unknown>[] {
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['jobId'] === jobId);
}

test('one trace goes from the request through both processes to the webhook', async (t) => {
  const collector = await startOtlpReceiver();
  const hook = await startReceiver();
  t.teardown(() => Promise.all([collector.close(), hook.close()]));
  const fleet = await startFleet(t, collector);
  if (!fleet) return;
  const { api, worker, post } = fleet;
  const mine = client('a');
  const job = await post(
    { seed: 3, webhook: { url: hook.url } },
    { traceparent: mine.traceparent, tracestate: 'vendor=opaque', 'x-request-id': 'req-of-mine' },
  );
  t.equal(job.status, 'succeeded');
  await hook.waitFor(1);
  // A repeat is copied in the store; its client has no trace, so it begins one.
  const repeat = await post({ seed: 3 });
  t.equal(repeat.adapters[0]?.fromStore, true);
  t.equal(await worker.end('SIGTERM'), 0);
  t.equal(await api.end('SIGTERM'), 0, 'what was not sent yet is sent at the end');
  t.strictSame(collector.complaints, []);

  const spans = collector.spans.filter(({ traceId }) => traceId === mine.traceId);
  const one = (name: string): ReceivedSpan => {
    const found = spans.filter((span) => span.name === name);
    if (found.length !== 1) throw new Error(`${found.length} spans are called ${name}`);
    return found[0]!;
  };
  t.strictSame(spans.map(({ name }) => name).toSorted(), [
    'POST /generate',
    'POST webhook job.succeeded',
    'batch',
    'decode',
    'embed prompts',
    'load bundle',
    'make adapter',
    'process generate',
    'send generate',
    'store copy',
    'store find',
    'store publish',
    'wait for batch',
    'wait in queue',
    'write adapter',
  ]);
  const parents = Object.fromEntries(
    spans.map(({ name, parentId }) => [
      name,
      spans.find(({ spanId }) => spanId === parentId)?.name ?? parentId,
    ]),
  );
  t.strictSame(parents, {
    'POST /generate': mine.spanId,
    'send generate': 'POST /generate',
    'wait in queue': 'send generate',
    'process generate': 'send generate',
    'load bundle': 'process generate',
    'make adapter': 'process generate',
    'store find': 'make adapter',
    'store copy': 'make adapter',
    'wait for batch': 'make adapter',
    batch: 'make adapter',
    'embed prompts': 'make adapter',
    decode: 'make adapter',
    'write adapter': 'make adapter',
    'store publish': 'make adapter',
    'POST webhook job.succeeded': 'send generate',
  });
  const [front, run, sent] = [
    one('POST /generate'),
    one('process generate'),
    one('POST webhook job.succeeded'),
  ];
  t.strictSame(
    [front.kind, one('send generate').kind, run.kind, sent.kind],
    ['server', 'producer', 'consumer', 'client'],
  );
  t.not(front.resource['service.instance.id'], run.resource['service.instance.id'], 'from two processes');
  t.match(front.resource, {
    'service.name': 'loradrop',
    'loradrop.role': 'api',
    'deployment.environment.name': 'test',
  });
  t.match(run.resource, { 'loradrop.role': 'worker' });
  t.match(front.attributes, {
    'http.request.method': 'POST',
    'http.route': '/generate',
    'http.response.status_code': 200,
    'loradrop.request.id': 'req-of-mine',
    'loradrop.job.id': job.id,
    'loradrop.tenant': 'default',
  });
  t.match(run.attributes, {
    'loradrop.job.id': job.id,
    'loradrop.outcome': 'succeeded',
    'loradrop.job.run': 1,
  });
  t.match(sent.attributes, {
    'http.response.status_code': 204,
    'server.address': '127.0.0.1',
    'loradrop.webhook.event': 'job.succeeded',
  });
  t.ok(spans.every(({ failed }) => !failed));

  // In order, and inside what they are parts of. Clocks of processes on one machine may differ by a moment.
  const inOrder = [
    'wait in queue',
    'wait for batch',
    'embed prompts',
    'decode',
    'write adapter',
    'store publish',
  ];
  for (const [index, name] of inOrder.slice(1).entries()) {
    t.ok(one(name).startMs >= one(inOrder[index]!).startMs - 5, `${name} begins after ${inOrder[index]}`);
  }
  for (const name of ['embed prompts', 'decode', 'write adapter', 'store publish']) {
    const [part, whole] = [one(name), one('make adapter')];
    t.ok(part.startMs >= whole.startMs - 5 && part.endMs <= whole.endMs + 5, `${name} lies in its adapter`);
  }
  const withId = ({ traceId, spanId }: ReceivedSpan) => ({ traceId, spanId });
  t.strictSame(one('batch').links, [], 'it served its parent alone');
  t.strictSame(one('decode').links, [withId(one('batch'))]);

  const { headers } = hook.received[0]!;
  t.equal(headers['traceparent'], `00-${mine.traceId}-${sent.spanId}-01`, 'the receiver can go on with it');
  t.equal(headers['tracestate'], 'vendor=opaque');

  const repeated = collector.spans.filter(({ attributes }) => attributes['loradrop.job.id'] === repeat.id);
  t.strictSame(new Set(repeated.map(({ name }) => name)), new Set(['POST /generate', 'process generate']));
  t.equal(new Set(repeated.map(({ traceId }) => traceId)).size, 1);
  t.equal(repeated.find(({ kind }) => kind === 'server')?.parentId, '', 'a trace of its own');
  t.notMatch(JSON.stringify(collector.spans), /secret river/, 'no span holds a prompt');
  t.ok(
    collector.spans.every(({ name }) => !/livez|readyz|metrics/.test(name)),
    'nobody traces probes',
  );

  const lines = [...linesOf(api.output(), job.id), ...linesOf(worker.output(), job.id)];
  t.strictSame(
    lines.filter(({ level }) => Number(level) >= 30).map(({ msg }) => msg),
    ['job accepted', 'request', 'job started', 'adapter published', 'job ended', 'webhook ended'],
    'one line an event',
  );
  for (const { msg, requestId, tenant, traceId } of lines) {
    t.strictSame(
      { msg, requestId, tenant, traceId },
      { msg, requestId: 'req-of-mine', tenant: 'default', traceId: mine.traceId },
    );
  }
  t.notMatch(api.output() + worker.output(), /secret river/);
});

test('a batch belongs to one of the jobs it served and links to the other, and each of them links to it', async (t) => {
  const collector = await startOtlpReceiver();
  t.teardown(() => collector.close());
  const fleet = await startFleet(t, collector, { BATCH_WAIT_MS: '5000', ENCODE_TOKEN_BUDGET: '16384' });
  if (!fleet) return;
  const clients = ['b', 'c'].map((digit) => client(digit));
  await Promise.all(clients.map(({ traceparent }, seed) => fleet.post({ seed }, { traceparent })));
  await collector.waitFor((spans) => spans.filter(({ name }) => name === 'process generate').length === 2);
  const batches = collector.spans.filter(({ name }) => name === 'batch');
  t.equal(batches.length, 1, 'both went together');
  const [batch] = batches;
  t.equal(batch?.attributes['loradrop.batch.requests'], 2);
  const adapters = collector.spans.filter(({ name }) => name === 'make adapter');
  const served = [batch?.parentId, ...(batch?.links ?? []).map(({ spanId }) => spanId)];
  t.strictSame(
    served.toSorted(),
    adapters.map(({ spanId }) => spanId).toSorted(),
    'it is part of one and links to the other',
  );
  const decodes = collector.spans.filter(({ name }) => name === 'decode');
  t.strictSame(
    decodes.map(({ links }) => links.map(({ spanId }) => spanId)),
    [[batch?.spanId], [batch?.spanId]],
  );
  t.equal(new Set(decodes.map(({ traceId }) => traceId)).size, 2, 'each in its own trace');
  t.strictSame(collector.complaints, []);
});

test('the sampler of the settings decides, and a collector that is away costs one line', async (t) => {
  const collector = await startOtlpReceiver();
  const hook = await startReceiver();
  t.teardown(() => Promise.all([collector.close(), hook.close()]));
  const fleet = await startFleet(t, collector, {
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0',
    OTEL_SERVICE_NAME: 'adapters',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20Ts3cret',
  });
  if (!fleet) return;
  const [kept, left] = [client('d'), client('e', '00')];
  await fleet.post({ seed: 1, webhook: { url: hook.url } }, { traceparent: left.traceparent });
  await fleet.post({ seed: 1 });
  await hook.waitFor(1);
  t.match(hook.received[0]?.headers['traceparent'], new RegExp(`^00-${left.traceId}-[0-9a-f]{16}-00$`));
  await fleet.post({ seed: 1 }, { traceparent: kept.traceparent });
  await collector.waitFor((spans) => spans.some(({ name }) => name === 'process generate'));
  t.strictSame(new Set(collector.spans.map(({ traceId }) => traceId)), new Set([kept.traceId]));
  t.ok(collector.spans.every(({ resource }) => resource['service.name'] === 'adapters'));
  t.ok(collector.header('authorization').every((value) => value === 'Bearer Ts3cret'));

  const { port } = new URL(collector.url);
  await collector.close();
  const away = () => fleet.worker.output().split('The trace collector cannot be reached').length - 1;
  await fleet.post({ seed: 1 }, { traceparent: client('f').traceparent });
  await until(async () => away() === 1);
  const again = await startOtlpReceiver(Number(port));
  t.teardown(() => again.close());
  await fleet.post({ seed: 1 }, { traceparent: client('9').traceparent });
  await until(async () => /The trace collector answers again/.test(fleet.worker.output()));
  t.equal(away(), 1);
  t.notMatch(fleet.worker.output() + fleet.api.output(), /Ts3cret/);
});

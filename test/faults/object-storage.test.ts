/**
 * Object storage that fails under a real fleet: whatever it does, accepted jobs end well, nothing half-written shows, no part
 * is left and every webhook comes. `STORE_AWAY_SECONDS` sets how long it is away.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'tap';
import { until } from '../helpers/loradrop-process.ts';
import type { FaultProxy } from '../store/fault-proxy.ts';
import { metricOf, startFleet } from './fleet.ts';

const AWAY_SECONDS = Number(process.env['STORE_AWAY_SECONDS'] ?? 5);

type Request = Parameters<FaultProxy['fault']>[0];

const isPart = ({ method, url = '' }: Request) => method === 'PUT' && url.includes('partNumber=');
/** A request by which an adapter comes to be: parts, completed uploads, small files, records. */
const makes = ({ method, url = '' }: Request) => method !== 'GET' && url.includes('/adapters/');

/** What the server does wrong, some times; the job is to end well all the same. */
const FAULTS: Readonly<
  Record<string, { readonly times: number; readonly act: (proxy: FaultProxy) => () => number }>
> = {
  'answers 500': refuse(6, makes, (_incoming, response) => Boolean(response.writeHead(500).end())),
  'answers 503 with Retry-After': refuse(2, makes, (_incoming, response) =>
    Boolean(response.writeHead(503, { 'retry-after': '1' }).end()),
  ),
  'resets in the middle of a part': refuse(3, isPart, (incoming) => {
    incoming.once('data', () => incoming.destroy());
    return true;
  }),
  'is slow': {
    times: 8,
    act(proxy) {
      let slowed = 0;
      proxy.delayMs = (incoming) => {
        if (!makes(incoming)) return 0;
        slowed += 1;
        return 500;
      };
      return () => slowed;
    },
  },
  'has other bytes of a part than were sent': {
    times: 1,
    act(proxy) {
      let wrong = 0;
      proxy.answer = (headers, incoming) => {
        if (wrong > 0 || !isPart(incoming)) return headers;
        wrong += 1;
        return { ...headers, 'x-amz-checksum-sha256': Buffer.alloc(32).toString('base64') };
      };
      return () => wrong;
    },
  },
};

/** Does the same to the first requests of a kind. */
function refuse(times: number, kind: (incoming: Request) => boolean, fault: FaultProxy['fault']) {
  const act = (proxy: FaultProxy) => {
    let done = 0;
    proxy.fault = (incoming, response) => {
      if (done === times || !kind(incoming)) return false;
      done += 1;
      return fault(incoming, response);
    };
    return () => done;
  };
  return { times, act };
}

test('a fleet on object storage that fails', { timeout: 900_000 + AWAY_SECONDS * 1000 }, async (t) => {
  const fleet = await startFleet(t);
  if (!fleet) return;
  const { proxy, server, start, submit, job, expectWhole, expectNothingLeft } = fleet;
  const [api, worker] = [await start('serve'), await start('worker')];
  let seed = 0;
  const heal = () => {
    proxy.fault = () => false;
    proxy.answer = (headers) => headers;
    proxy.delayMs = () => 0;
  };

  await t.test('in peace: a job from request to links', async (t) => {
    t.equal((await submit(api, 'peace', ++seed)).status, 202);
    await expectWhole(t, api, 'peace', 'in peace');
    const { weights = '' } = (await job(api, 'peace')).adapters[0]?.links ?? {};
    t.match(weights, /X-Amz-Signature=/, 'the links are those of the object storage');
    const answer = await fetch(weights, { headers: { range: 'bytes=0-7' } });
    t.equal(answer.status, 206, 'and open without a key');
    t.equal((await fetch(weights.replace('/peace/', '/other/'))).status, 403);
    t.equal(await metricOf(worker, 'loradrop_store_ready'), 1);
  });

  for (const [name, { times, act }] of Object.entries(FAULTS)) {
    await t.test(`it ${name}`, async (t) => {
      const id = name.replaceAll(' ', '-');
      const happened = act(proxy);
      t.equal((await submit(api, id, ++seed)).status, 202);
      await expectWhole(t, api, id, name);
      t.ok(happened() >= times, `${happened()} times`);
      t.equal((await job(api, id)).attempts, 1, 'one run was enough');
      heal();
      await expectNothingLeft(t, name);
    });
  }

  for (const [name, begin, end] of [
    [
      'denies',
      async () => {
        proxy.fault = (_incoming, response) => Boolean(response.writeHead(403).end());
      },
      async () => heal(),
    ],
    ['is away', () => server.kill(), () => server.restart()],
  ] as const) {
    await t.test(`it ${name}`, async (t) => {
      const ids = [0, 1, 2].map((nth) => `${name.replaceAll(' ', '-')}-${nth}`);
      let begun: Promise<void> | undefined;
      // In the middle of the first job's weights.
      proxy.fault = (incoming) => {
        if (!isPart(incoming) || begun) return false;
        begun = begin();
        incoming.destroy();
        return true;
      };
      for (const id of ids) t.equal((await submit(api, id, ++seed)).status, 202);
      await until(async () => begun !== undefined);
      await begun;
      await until(async () => (await metricOf(worker, 'loradrop_store_ready')) === 0);
      await until(async () => (await metricOf(worker, 'loradrop_held_adapters')) > 0);
      // Each process looks for itself, and not at every request.
      for (const each of [api, worker]) {
        await until(async () => (await fetch(`${each.url}/readyz`)).status === 503);
      }
      const refused = await submit(api, 'refused', ++seed);
      t.equal(refused.status, 503);
      t.match(await refused.json(), { code: 'store-unavailable' });
      t.match(refused.headers.get('retry-after'), /^[0-9]+$/);
      await delay(AWAY_SECONDS * 1000);
      for (const id of ids) t.notOk((await job(api, id)).error, `${id} waits`);
      const decoded = await metricOf(worker, 'loradrop_held_adapters');
      t.ok(decoded > 0, `${decoded} adapters wait in memory`);
      await end();
      for (const id of ids) await expectWhole(t, api, id, `${name}, then back`);
      t.equal((await job(api, ids[0]!)).attempts, 1, 'the one that was decoded is not decoded again');
      await until(async () => (await fetch(`${api.url}/readyz`)).status === 200);
      heal();
      await expectNothingLeft(t, name);
    });
  }

  await t.test('a worker that is stopped meanwhile gives its jobs back', async (t) => {
    let away: Promise<void> | undefined;
    proxy.fault = (incoming) => {
      if (!isPart(incoming) || away) return false;
      away = server.kill();
      incoming.destroy();
      return true;
    };
    t.equal((await submit(api, 'given-back', ++seed)).status, 202);
    await until(async () => (await metricOf(worker, 'loradrop_held_adapters')) === 1);
    await away;
    t.equal(await worker.end('SIGTERM'), 0);
    t.match(await job(api, 'given-back'), { status: 'queued' });
    await server.restart();
    await start('worker');
    await expectWhole(t, api, 'given-back', 'at another worker');
    await expectNothingLeft(t, 'after it was given back');
  });
});

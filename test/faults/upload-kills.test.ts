/**
 * Worker and API processes that are killed at every stage of an upload: right before a request of the worker reaches the
 * object storage, and right after the storage has done it. Every accepted job is done all the same, whole and told of once.
 */
import type { IncomingMessage } from 'node:http';
import { test } from 'tap';
import { until } from '../helpers/loradrop-process.ts';
import { startFleet } from './fleet.ts';

/** Places tried in one run of the suite, spread over all there are. `UPLOAD_KILL_POINTS` sets another number. */
const POINTS = Number(process.env['UPLOAD_KILL_POINTS'] ?? 4);

/** Requests of one job. Looks whether the store works and clean-up by the clock come at any time. */
const ofJob = ({ url = '' }: IncomingMessage) => !/\/probe\/|prefix=[^&]*(expiry|adapters)%2F/.test(url);

/** What a request does, for a list of places. */
function stageOf({ method, url = '' }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, 'http://store');
  const [, , , kind = '', ...rest] = pathname.split('/');
  const part = searchParams.get('partNumber');
  const what = searchParams.has('uploads')
    ? 'begin upload of'
    : part
      ? `part ${part} of`
      : searchParams.has('uploadId')
        ? method === 'DELETE'
          ? 'abort upload of'
          : 'complete upload of'
        : `${method}`;
  const list = searchParams.get('prefix')?.split('/')[1];
  return `${what} ${list ? `list of ${list}` : kind === 'adapters' ? rest.at(-1) : kind}`;
}

test('killed at any stage of an upload, processes lose no job', { timeout: 3_600_000 }, async (t) => {
  const fleet = await startFleet(t);
  if (!fleet) return;
  const { proxy, start, submit, expectWhole, expectNothingLeft } = fleet;
  let [api, worker] = [await start('serve'), await start('worker')];

  const stages: string[] = [];
  proxy.fault = (incoming) => {
    if (ofJob(incoming)) stages.push(stageOf(incoming));
    return false;
  };
  let counting = true;
  await submit(api, 'whole', 1);
  // Clean-up and the API's own look at the adapter are not part of it.
  await until(async () => {
    if (stages.some((stage) => stage === 'PUT content')) counting = false;
    return !counting;
  });
  const calls = stages.indexOf('PUT content') + 1;
  proxy.fault = () => false;
  await expectWhole(t, api, 'whole', 'without a kill');
  t.comment(stages.slice(0, calls).join(', '));
  t.ok(calls > 8, `${calls} requests`);

  const places = Array.from({ length: calls * 2 }, (_, place) => place);
  const step = Math.max(1, places.length / POINTS);
  let killed = 0;
  for (let at = 0; at < places.length; at += step) {
    const place = places[Math.floor(at)]!;
    const [nth, when] = [place >> 1, place % 2 === 0 ? 'before' : 'after'] as const;
    const id = `killed-${nth}-${when}`;
    const doomed = worker;
    // The API does not write adapters, but loses what it holds open; every other time it goes along.
    const doomedApi = killed % 2 === 0 ? api : undefined;
    let seen = -1;
    let stage = '';
    const kill = () => {
      doomed.child.kill('SIGKILL');
      doomedApi?.child.kill('SIGKILL');
    };
    const chosen = new WeakSet<IncomingMessage>();
    proxy.fault = (incoming) => {
      if (stage !== '' || !ofJob(incoming) || ++seen !== nth) return false;
      stage = stageOf(incoming);
      if (when === 'before') kill();
      else chosen.add(incoming);
      return when === 'before';
    };
    proxy.answer = (headers, incoming) => {
      if (chosen.has(incoming)) kill();
      return headers;
    };
    const answer = await submit(api, id, 100 + place).catch(() => undefined);
    // The first requests come while the API still answers: who hears nothing from it asks again, as clients do.
    if (answer) t.equal(answer.status, 202);
    else t.equal(doomedApi, api, 'only an API that is killed leaves a request without an answer');
    if (answer) await until(async () => doomed.child.signalCode === 'SIGKILL');
    killed += 1;
    [worker, api] = await Promise.all([start('worker'), doomedApi ? start('serve') : api]);
    if (!answer) t.ok((await submit(api, id, 100 + place)).ok, `${when} ${stage}: asked again`);
    await expectWhole(t, api, id, `${when} ${stage}`);
    await expectNothingLeft(t, `${when} ${stage}`);
  }
  t.ok(killed >= Math.min(POINTS, places.length), `${killed} workers were killed`);
});

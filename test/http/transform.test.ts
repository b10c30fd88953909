import { test } from 'tap';
import type { Adapter, Job } from '../../src/http/schemas.ts';
import { startApi } from './start-api.ts';

const wait = { prefer: 'wait=30' };

test('an adapter is made of others by a job', async (t) => {
  const { app } = await startApi(t);
  for (const id of ['one', 'two']) {
    const made = await app.inject({
      method: 'PUT',
      url: `/generate/${id}`,
      headers: wait,
      payload: { prompts: [`About ${id}?`], seed: 3 },
    });
    t.equal(made.statusCode, 200, made.body);
  }
  const request = {
    method: 'POST',
    url: '/adapters/one/transform',
    headers: { ...wait, 'idempotency-key': 'sum' },
    payload: {
      weight: 0.5,
      add: [{ adapter: 'two', weight: 2 }],
      transform: [{ type: 'rank', to: 1 }],
      name: 'both',
      metadata: { team: 'x' },
    },
  } as const;
  const response = await app.inject(request);
  t.equal(response.statusCode, 200, response.body);
  const job = response.json() as Job;
  t.match(job, {
    status: 'succeeded',
    count: 1,
    dtype: 'bf16',
    sources: [
      { adapter: 'one', weight: 0.5, url: '/adapters/one' },
      { adapter: 'two', weight: 2 },
    ],
    transform: [{ type: 'rank', to: 1 }],
    name: 'both',
    metadata: { team: 'x' },
    adapters: [{ tensors: 2, parameters: 8, fromStore: false }],
  });
  t.match(job.warnings.join(), /untrained/i);
  const adapter = (await app.inject(job.urls.adapter)).json() as Adapter;
  t.match(adapter, {
    rank: 1,
    alpha: 2,
    trained: false,
    transform: { sources: [{ id: 'one', weight: 0.5 }, { id: 'two' }], steps: [{ to: 1 }] },
  });
  t.ok(adapter.transform!.energyKept > 0 && adapter.transform!.energyKept <= 1);
  const config = (await app.inject(`${job.urls.adapter}/adapter_config.json`)).json();
  t.match(config, { r: 1, lora_alpha: 2, base_model_name_or_path: 'test/base' });

  const repeat = await app.inject(request);
  t.equal(repeat.json().id, job.id);
  const other = await app.inject({
    method: 'POST',
    url: '/adapters/two/transform',
    headers: { ...wait, 'idempotency-key': 'sum' },
    payload: {},
  });
  t.match(other.json(), { status: 409, code: 'job-conflict' });

  const weights = await app.inject({
    method: 'POST',
    url: '/adapters/one/transform',
    headers: { accept: 'application/octet-stream' },
    payload: {},
  });
  const source = await app.inject('/adapters/one/adapter_model.safetensors');
  t.ok(weights.rawPayload.equals(source.rawPayload), 'no step, no change');
});

test('what does not fit is refused before anything is queued', async (t) => {
  const { app, queue } = await startApi(t, { limits: { maxCount: 64 } });
  await app.inject({
    method: 'PUT',
    url: '/generate/one',
    headers: wait,
    payload: { prompts: ['One?'], seed: 3 },
  });
  const refusals: [string, object, object][] = [
    ['one', { transform: [{ type: 'rank', to: 3 }] }, { pointer: '/transform/0/to' }],
    ['one', { transform: [{ type: 'rank' }] }, { pointer: '/transform/0/to' }],
    ['one', { transform: [{ type: 'modules', keep: 2 }] }, { pointer: '/transform/0/keep' }],
    ['one', { transform: [{ type: 'scale', factor: 2, top: 2 }] }, { pointer: '/transform/0/top' }],
  ];
  for (const [id, payload, field] of refusals) {
    const response = await app.inject({ method: 'POST', url: `/adapters/${id}/transform`, payload });
    t.match(response.json(), { status: 422, code: 'transform-unfit', errors: [field] }, response.body);
  }
  for (const payload of [
    { transform: [{ type: 'turn' }] },
    { transform: 'scale' },
    { transform: Array.from({ length: 9 }, () => ({ type: 'scale', factor: 2 })) },
    { weight: 'NaN' },
    { weight: 17 },
    { add: [{ adapter: '../x' }] },
    { add: Array.from({ length: 16 }, () => ({ adapter: 'one' })) },
  ]) {
    const response = await app.inject({ method: 'POST', url: '/adapters/one/transform', payload });
    t.equal(response.statusCode, 400, response.body);
  }
  for (const [url, payload] of [
    ['/adapters/none/transform', {}],
    ['/adapters/one/transform', { add: [{ adapter: 'none' }] }],
  ] as const) {
    const response = await app.inject({ method: 'POST', url, payload });
    t.match(response.json(), { status: 404, code: 'adapter-not-found' });
  }
  const generate = (payload: object) =>
    app.inject({ method: 'POST', url: '/generate', payload: { prompts: ['One?'], ...payload } });
  t.match((await generate({ transform: [{ type: 'rank', to: 9 }] })).json(), { code: 'transform-unfit' });
  t.match((await generate({ transform: [{ type: 'modules', keep: 211 }] })).json(), {
    code: 'transform-unfit',
  });
  t.match((await generate({ keep: 'central' })).json(), {
    code: 'options-conflict',
    errors: [{ pointer: '/count' }],
  });
  t.match((await generate({ keep: 'mean', count: 33 })).json(), {
    code: 'transform-unfit',
    errors: [{ pointer: '/count', message: 'must be at most 32 here' }],
  });
  t.equal((await generate({ keep: 'best', count: 2 })).statusCode, 400);
  t.equal((await queue.list({ limit: 10 })).jobs.length, 1, 'the first job alone');
});

test('a generation may keep one of its samples', async (t) => {
  const { app, queue } = await startApi(t, { work: false });
  const response = await app.inject({
    method: 'PUT',
    url: '/generate/mine',
    payload: { prompts: ['One?'], seed: 3, count: 3, keep: 'central', transform: [{ type: 'rank', to: 2 }] },
  });
  t.match(response.json(), {
    count: 3,
    keep: 'central',
    transform: [{ type: 'rank', to: 2 }],
    adapters: [{ id: 'mine' }],
  });
  t.equal(response.json().adapters.length, 1);
  t.match((await queue.find('mine'))!.payload, {
    adapterIds: ['mine'],
    sampleIds: ['mine--0', 'mine--1', 'mine--2'],
  });
  await app.inject({
    method: 'PUT',
    url: '/generate/each',
    payload: { prompts: ['One?'], seed: 3, count: 2, transform: [{ type: 'scale', factor: 2 }] },
  });
  t.match((await queue.find('each'))!.payload, {
    adapterIds: ['each--0', 'each--1'],
    sampleIds: ['each--2', 'each--3'],
  });
});

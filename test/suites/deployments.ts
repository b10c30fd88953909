/** Hand-over to model servers through the API: real queue, store and workers, against stand-ins for vLLM. */
import { type Test, test } from 'tap';
import type { DeploymentView } from '../../src/http/deployment-schemas.ts';
import type { Target } from '../../src/serving/targets.ts';
import { startApi, type TestApi, type TestApiOptions } from '../http/start-api.ts';
import { startVllmStandIn, type VllmStandIn } from '../serving/vllm-stand-in.ts';

const BASES = ['test/base', 'HuggingFaceTB/SmolLM2-135M-Instruct'];

/** One API for all tests, each of which has servers and a target of its own. */
const targets: Target[] = [];
let api: TestApi;
/** Runs the cases with a queue, or none where its server is missing. */
export function deploymentSuite(
  name: string,
  open: (t: Test) => Promise<Pick<TestApiOptions, 'queueUrl'> | undefined>,
): void {
  test(`an API with deploy targets on ${name}`, { autoend: false }, async (t) => {
    const options = await open(t);
    if (!options) return;
    api = await startApi(t, { targets, ...options });
    await t.test('hand-over', cases);
  });
}

async function setUp(t: Test, { replicas = 2, changes = {} as Partial<Target> } = {}) {
  const servers = await Promise.all(Array.from({ length: replicas }, () => startVllmStandIn()));
  t.teardown(() => Promise.all(servers.map((server) => server.close())));
  const target = `chat-${targets.length}`;
  targets.push({
    name: target,
    kind: 'vllm',
    replicas: servers.map(({ url }) => url),
    bases: BASES,
    maxRank: 16,
    tenants: ['default'],
    reach: 'hub',
    ...changes,
  });
  return { servers, target };
}

async function make(id: string, changes: object = {}) {
  return api.app.inject({
    method: 'PUT',
    url: `/generate/${id}`,
    headers: { prefer: 'wait=20' },
    payload: { prompts: [`What is ${id}?`], seed: 1, ...changes },
  });
}

async function deploy(id: string, target: string, changes: object = {}) {
  const response = await api.app.inject({
    method: 'POST',
    url: `/adapters/${id}/deploy`,
    payload: { target, ...changes },
  });
  return { status: response.statusCode, view: response.json() as DeploymentView };
}

async function until(id: string, condition: (view: DeploymentView) => boolean) {
  for (;;) {
    const view = (await api.app.inject({ url: `/deployments/${id}` })).json() as DeploymentView;
    if (condition(view)) return view;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

const isAt = (state: string) => (view: DeploymentView) => view.state === state;
const names = (server: VllmStandIn) => [...server.loaded.keys()];

async function cases(suite: Test) {
  await suite.test('an adapter is loaded on every replica, checked, and unloaded with its end', async (t) => {
    const { servers, target } = await setUp(t);
    await make('first');
    const { status, view } = await deploy('first', target);
    t.equal(status, 202);
    t.match(view.servedName, /^default\/first@[0-9a-f]{12}$/);
    const there = await until(view.id, isAt('deployed'));
    t.same(there.use, { model: view.servedName });
    for (const replica of there.replicas) {
      t.match(replica, { state: 'loaded', loads: 1, applied: true, noise: 0 });
      t.ok(replica.difference! > 0.1);
    }
    for (const server of servers) {
      const [name, path] = [...server.loaded][0]!;
      t.equal(name, view.servedName);
      t.match(path, /^default\/first\.c[0-9a-f]{12}$/);
      t.equal((await api.app.inject({ url: `/api/models/${path}` })).statusCode, 200, 'it is a repository');
      const other = path!.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
      t.equal((await api.app.inject({ url: `/api/models/${other}` })).statusCode, 404);
    }
    t.equal((await deploy('first', target)).view.id, view.id, 'asked for again it is the same');

    await api.app.inject({ method: 'DELETE', url: '/adapters/first' });
    await until(view.id, isAt('removed'));
    for (const server of servers) t.same(names(server), []);
  });

  await suite.test('a request asks for it, and the job shows every replica', async (t) => {
    const { servers, target } = await setUp(t);
    const made = await make('asked', { deploy: [{ target, name: 'science' }] });
    t.equal(made.statusCode, 200);
    const shown = async () => (await api.app.inject({ url: '/jobs/asked' })).json().deployments[0];
    while ((await shown()).state !== 'deployed') await new Promise((resolve) => setTimeout(resolve, 30));
    const { id, servedName, replicas } = await shown();
    t.match(servedName, /^default\/science@/);
    t.equal(replicas.length, 2);
    // A newer one of the name takes its place.
    await make('newer', { deploy: [{ target, name: 'science' }] });
    await until(id, isAt('removed'));
    for (const server of servers) {
      t.equal(names(server).length, 1);
      t.match([...server.loaded.values()][0], /^default\/newer\.c/);
    }
    const list = (await api.app.inject({ url: '/deployments?limit=2' })).json()
      .deployments as DeploymentView[];
    t.same(
      list.map(({ adapter, state }) => [adapter, state]),
      [
        ['newer', 'deployed'],
        ['asked', 'removed'],
      ],
    );
  });

  await suite.test(
    'a replica that is down gets it when it is back, and the others serve meanwhile',
    async (t) => {
      const { servers, target } = await setUp(t, { replicas: 3 });
      const [first, , third] = servers as [VllmStandIn, VllmStandIn, VllmStandIn];
      await third.kill();
      await make('a-3');
      const { view } = await deploy('a-3', target);
      const partial = await until(view.id, isAt('partial'));
      t.same(
        partial.replicas.map(({ state }) => state),
        ['loaded', 'loaded', 'unavailable'],
      );
      t.ok(partial.nextAttemptAt);
      await third.restart();
      t.equal(await api.reconcile(), 1);
      await until(view.id, isAt('deployed'));
      t.same(names(third), [view.servedName]);

      // A restarted replica has forgotten all.
      await first.restart();
      t.equal(await api.reconcile(), 1);
      await until(view.id, ({ replicas }) => replicas[0]!.loads === 2 && replicas[0]!.state === 'loaded');
      t.same(names(first), [view.servedName]);
      t.equal(await api.reconcile(), 0, 'nothing is left to do');
    },
  );

  await suite.test(
    'a replica that says yes and forgets, or does not apply the adapter, is found out',
    async (t) => {
      const { servers, target } = await setUp(t);
      const [forgetful, idle] = servers as [VllmStandIn, VllmStandIn];
      forgetful.forgets = true;
      idle.ignores = true;
      await make('a-4');
      const { view } = await deploy('a-4', target);
      const failing = await until(view.id, isAt('failing'));
      t.match(failing.replicas, [
        { state: 'forgotten', loads: 1 },
        { state: 'unapplied', applied: false, difference: 0 },
      ]);
      forgetful.forgets = false;
      idle.ignores = false;
      const mended = await until(view.id, isAt('deployed'));
      t.ok(mended.replicas.every(({ applied }) => applied === true));
    },
  );

  await suite.test(
    'an undeployed adapter leaves also a replica that was away, unless another deployment has it',
    async (t) => {
      const { servers, target } = await setUp(t);
      const [, second] = servers as [VllmStandIn, VllmStandIn];
      await make('a-5');
      const { view } = await deploy('a-5', target);
      await until(view.id, isAt('deployed'));
      const kept = new Map(second.loaded);
      await second.kill();
      const gone = await api.app.inject({ method: 'DELETE', url: `/deployments/${view.id}` });
      t.equal(gone.statusCode, 202);
      await until(view.id, ({ replicas }) => replicas.some(({ state }) => state === 'unavailable'));
      // Back without a restart, as after a broken network.
      await second.restart();
      for (const [name, path] of kept) (second.loaded as Map<string, string>).set(name, path);
      await api.reconcile();
      await until(view.id, isAt('removed'));
      t.same(servers.map(names), [[], []]);

      const again = await deploy('a-5', target);
      t.not(again.view.id, view.id);
      await until(again.view.id, isAt('deployed'));
      await api.app.inject({ method: 'DELETE', url: `/deployments/${view.id}` });
      await api.reconcile();
      t.same(servers.map(names), [[view.servedName], [view.servedName]]);
    },
  );

  await suite.test('what does not fit is refused before anything is queued', async (t) => {
    const { target } = await setUp(t, { replicas: 1, changes: { maxRank: 1 } });
    const refused = async (changes: object) => (await make('x', changes)).json();
    t.match(await refused({ deploy: [{ target: 'nowhere' }] }), {
      type: /deploy-target-unknown/,
      detail: /Yours are chat-0, /,
      errors: [{ pointer: '/deploy/0/target' }],
    });
    t.match(await refused({ deploy: [{ target }] }), { type: /deploy-unfit/ });
    t.match(await refused({ count: 2, deploy: [{ target, name: 'one' }] }), { type: /options-conflict/ });
    t.equal((await api.app.inject({ url: '/jobs/x' })).statusCode, 404);
    await make('a-6');
    const response = await api.app.inject({
      method: 'POST',
      url: '/adapters/a-6/deploy',
      payload: { target },
    });
    t.match(response.json(), { type: /deploy-unfit/, detail: /takes ranks up to 1; the adapter has 2/ });
  });

  await suite.test('a server that says no is asked again, more and more seldom', async (t) => {
    const { servers, target } = await setUp(t, { replicas: 1 });
    servers[0]!.refuses = 400;
    await make('a-7');
    const { view } = await deploy('a-7', target);
    const failing = await until(view.id, isAt('failing'));
    t.match(failing.replicas, [{ state: 'refused', loads: 0, detail: /answers with 400/ }]);
    t.notMatch(JSON.stringify(failing), /Loading lora/, 'what it said is for the log');
    t.match(api.logged(), /Loading lora/);
  });
}

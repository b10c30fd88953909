/** A process that is killed at every step of a hand-over finishes it after its next start; against a stand-in for vLLM. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import type { DeploymentView } from '../../src/http/deployment-schemas.ts';
import { startLoradrop, until } from '../helpers/loradrop-process.ts';
import { startVllmStandIn } from '../serving/vllm-stand-in.ts';

/** Places tried by default: each costs a start. `DEPLOY_KILL_POINTS=4` tries all. */
const POINTS = Number(process.env['DEPLOY_KILL_POINTS'] ?? 2);
/** Where it is killed, the most telling ones first: the server's request, and whether that had been carried out. */
const PLACES = [
  ['POST /v1/load_lora_adapter', true],
  ['POST /v1/unload_lora_adapter', true],
  ['POST /v1/load_lora_adapter', false],
  ['POST /v1/completions', true],
] as const;

test('killed at any step of a hand-over', { timeout: 900_000 }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-deploy-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const server = await startVllmStandIn();
  t.teardown(() => server.close());
  const file = join(directory, 'targets.json');
  const target = {
    name: 'chat',
    kind: 'vllm',
    replicas: [server.url],
    bases: ['HuggingFaceTB/SmolLM2-135M-Instruct'],
    maxRank: 64,
    tenants: ['*'],
    reach: 'hub',
  };
  const writeTargets = (...targets: object[]) => writeFile(file, JSON.stringify({ version: 1, targets }));
  await writeTargets(target);
  const start = () =>
    startLoradrop(t, 'start', {
      DATA_DIR: join(directory, 'data'),
      DEPLOY_TARGETS_FILE: file,
      JOB_LOCK_MS: '2000',
    });
  let loradrop = await start();
  const ask = async (path: string, init: RequestInit = {}) =>
    (await fetch(`${loradrop.url}${path}`, {
      ...init,
      headers: { prefer: 'wait=60', ...(init.body ? { 'content-type': 'application/json' } : {}) },
    }).then((response) => response.json())) as never;
  /** The deployment that the steps are about. */
  let id = '';
  const body = JSON.stringify({ target: 'chat' });
  const jobDeployment = async () => {
    const job: { deployments: DeploymentView[] } = await ask('/jobs/a');
    return job.deployments[0]!.id;
  };
  const deployAgain = async () => {
    const view: DeploymentView = await ask('/adapters/a/deploy', { method: 'POST', body });
    return view.id;
  };
  const stateOf = async () => ((await ask(`/deployments/${id}`)) as DeploymentView).state;
  const killAt = ([what, done]: (typeof PLACES)[number]) => {
    const killed = Promise.withResolvers<void>();
    server.watch = async (seen, after) => {
      if (seen !== what || after !== done) return;
      server.watch = () => undefined;
      await loradrop.end('SIGKILL');
      killed.resolve();
    };
    return killed.promise;
  };
  const begin = () =>
    ask('/generate/a', {
      method: 'PUT',
      body: JSON.stringify({ prompts: ['What is water?'], seed: 1, deploy: [{ target: 'chat' }] }),
    });

  for (const [index, place] of PLACES.slice(0, POINTS).entries()) {
    const killed = killAt(place);
    const unloads = place[0].includes('unload');
    if (index === 0) await begin();
    else if (unloads) await ask(`/deployments/${id}`, { method: 'DELETE' }).catch(() => undefined);
    else id = await deployAgain();
    await killed;
    loradrop = await start();
    if (index === 0) id = await jobDeployment();
    await until(async () => (await stateOf()) === (unloads ? 'removed' : 'deployed'), 120_000);
    t.equal(server.loaded.size, unloads ? 0 : 1, `${place[0]} ${place[1] ? 'after' : 'before'}`);
  }

  id = await deployAgain();
  await until(async () => (await stateOf()) === 'deployed');
  // The target is taken out of the file while its server restarts, and comes back.
  await writeTargets();
  await loradrop.end('SIGTERM');
  await server.restart();
  loradrop = await start();
  t.equal(await stateOf(), 'deployed', 'nobody can be asked');
  await writeTargets(target);
  await loradrop.end('SIGTERM');
  loradrop = await start();
  await until(async () => server.loaded.size === 1 && (await stateOf()) === 'deployed', 120_000);
  t.equal(server.loaded.size, 1);
});

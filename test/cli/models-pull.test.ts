import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'tap';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import { until } from '../helpers/loradrop-process.ts';
import { type ServedFile, startHub } from '../models/hub-server.ts';
import { importSmallBundle } from '../models/small-bundle.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** Starts `loradrop …` in a process of its own. */
function loradrop(args: readonly string[], environment: Record<string, string>) {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...CHILD_ENVIRONMENT, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]).then(
    ([[code], out, err]) => ({ code: code as number, out, err }),
  );
  return { child, ended };
}

test('a bundle is pulled, listed, and a pull that Ctrl-C ends goes on later', async (t) => {
  const { bundle } = await importSmallBundle(t.testdir());
  const files: Record<string, ServedFile> = {};
  for (const name of await readdir(bundle.directory)) {
    files[name] = { content: await readFile(join(bundle.directory, name)), large: name.includes('onnx') };
  }
  const hub = await startHub(files);
  t.teardown(() => hub.close());
  const { state } = hub;
  state.token = 'a token of no special form';
  const dataDir = join(bundle.directory, '..', '..', 'data');
  const environment = { HF_ENDPOINT: hub.url, HF_TOKEN: state.token, DATA_DIR: dataDir };
  const pull = ['models', 'pull', `hf://${hub.repository}`];

  const refused = await loradrop(pull, { ...environment, HF_TOKEN: '' }).ended;
  t.equal(refused.code, 1);
  t.match(refused.err, /private and it needs HF_TOKEN\. \[hub-not-found\]/);

  const name = 'encoder.onnx.data';
  const kept = Math.floor(files[name]!.content.length / 2);
  state.stall = { path: name, bytes: kept };
  const { child, ended } = loradrop(pull, environment);
  const bundles = join(dataDir, 'bundles');
  const arrived = async () => {
    const [left = ''] = await readdir(bundles).catch(() => []);
    return stat(join(bundles, left, name)).then(
      ({ size }) => size === kept,
      () => false,
    );
  };
  await until(arrived);
  child.kill('SIGINT');
  const interrupted = await ended;
  t.equal(interrupted.code, 1);
  t.match(interrupted.err, /goes on from what is there\. \[canceled\]/);
  t.match(await readdir(bundles), [/^\.generator\.pulling_/]);
  t.ok(await arrived(), 'what had come is kept');

  state.stall = undefined;
  state.ranges.length = 0;
  const done = await loradrop(pull, environment).ended;
  t.equal(done.code, 0, done.err);
  t.match(done.out, new RegExp(`commit ${state.commit}[\\s\\S]*digest ${bundle.digest}[\\s\\S]*untrained`));
  t.ok(state.ranges.includes(`bytes=${kept}-`), `it goes on from byte ${kept}`);
  t.match((await loradrop(['models', 'list'], environment).ended).out, /tiny/);
  t.notMatch((await loradrop(['config'], environment).ended).out, state.token, 'the token is not shown');
});

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { TRAINING, trainingPython } from '../helpers/training.ts';

/** The whole recipe runs on a tiny base: a minute on two cores, several beside other tests. */
const TIMEOUT_MS = 15 * 60_000;

tap.setTimeout(TIMEOUT_MS);

test('the recipe trains, judges and exports a generator that the service imports and agrees with', {
  timeout: TIMEOUT_MS,
}, (t) => {
  const python = trainingPython();
  if (!python) {
    t.equal(process.env['CI'], undefined, 'CI has the environment of training/requirements.txt');
    t.end();
    return;
  }
  const main = join(TRAINING, '..', 'src', 'main.ts');
  const { status, stdout, stderr } = spawnSync(python, ['-m', 'pytest', '-q', '-p', 'no:cacheprovider'], {
    cwd: TRAINING,
    env: { ...process.env, LORADROP: `'${process.execPath}' '${main}'`, OMP_NUM_THREADS: '1' },
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  t.equal(status, 0, `${stdout}\n${stderr}`.slice(-4000));
  t.end();
});

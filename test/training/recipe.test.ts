import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { TRAINING, trainingPython } from '../helpers/training.ts';

/** The whole recipe runs on a tiny base: a minute on two cores, several beside other tests. */
const TIMEOUT_MS = 15 * 60_000;

tap.setTimeout(TIMEOUT_MS);

const python = trainingPython();
// CI makes the environment, so that there it is a failure not to have it.
const skip = python || process.env['CI'] ? false : 'training/venv is not there, see test/install-training.ts';

test('the recipe trains, judges and exports what the service imports', { skip }, (t) => {
  t.ok(python, 'there is a Python with PyTorch');
  const main = join(TRAINING, '..', 'src', 'main.ts');
  const { status, stdout, stderr } = spawnSync(
    python ?? 'python3',
    ['-m', 'pytest', '-q', '-p', 'no:cacheprovider'],
    {
      cwd: TRAINING,
      env: { ...process.env, LORADROP: `'${process.execPath}' '${main}'`, OMP_NUM_THREADS: '1' },
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    },
  );
  t.equal(status, 0, `${stdout}\n${stderr}`.slice(-4000));
  t.end();
});

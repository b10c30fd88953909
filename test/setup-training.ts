/**
 * Makes the Python environment of `training/` in CI, where nothing may be skipped. Elsewhere its test is left out, which this
 * says: the environment takes several gigabytes, and the service does not need it.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { TRAINING, trainingPython } from './helpers/training.ts';

const venv = join(TRAINING, 'venv');

function run(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}

if (!trainingPython() && process.env['CI']) {
  const requirements = join(TRAINING, 'requirements.txt');
  const made =
    run('python3', '-m', 'venv', venv) &&
    run(join(venv, 'bin', 'python'), '-m', 'pip', 'install', '--quiet', '--requirement', requirements);
  if (!made || !trainingPython()) {
    console.error('The Python environment of training/ could not be made: its recipe is NOT TESTED.');
    process.exit(1);
  }
  console.log('installed for the tests: the Python environment of training/');
}
if (!trainingPython()) {
  console.error(`
  ****************************************************************************
  *  NO PYTHON ENVIRONMENT FOR training/
  *  The recipe is NOT TESTED. To test it:
  *  python3 -m venv training/venv
  *  training/venv/bin/pip install -r training/requirements.txt
  ****************************************************************************
`);
}

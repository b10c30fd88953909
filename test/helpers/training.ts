/** The Python environment of `training/`, for the tests of the recipe. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The recipe's folder. */
export const TRAINING = join(import.meta.dirname, '..', '..', 'training');

/** Where the README's command puts the environment. */
const VENV_PYTHON = join(TRAINING, 'venv', 'bin', 'python');

/** A Python that can run the recipe: `TRAINING_PYTHON`, or that of `training/venv`; undefined where neither has PyTorch. */
export function trainingPython(): string | undefined {
  return [process.env['TRAINING_PYTHON'], VENV_PYTHON].find(
    (path) =>
      path &&
      (path !== VENV_PYTHON || existsSync(path)) &&
      spawnSync(path, ['-c', 'import torch']).status === 0,
  );
}

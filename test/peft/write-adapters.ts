/**
 * Writes an adapter for a small copy of every known base, with random numbers, for `check_adapter.py` to load:
 *
 *     node test/peft/write-adapters.ts DIRECTORY
 *
 * Each copy has the base's layer path, modules, rank and alpha, two layers and small widths. A line a base tells its folder
 * and its architecture.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { fillUniform, seededRandom } from '../../src/base/random.ts';
import { KNOWN_BASES, layoutForBase } from '../../src/lora/bases.ts';
import { loraTensors } from '../../src/lora/tensors.ts';

/** Widths that every architecture takes with heads of 64 numbers. */
const SMALL = { layers: 2, hidden: 128, kv: 64, ffn: 256 };

const [target] = process.argv.slice(2);
if (target === undefined) throw new Error('Name the directory to write to.');
for (const { alias, architecture, id, layout: full } of KNOWN_BASES) {
  const { rank, alpha, layerPath } = full;
  const layout = {
    ...layoutForBase({ ...SMALL, rank, alpha, layerPath }),
    // The base's own modules, in case a base is known with fewer than seven.
    modules: layoutForBase({ ...SMALL, rank, alpha }).modules.filter(({ path }) =>
      full.modules.some((module) => module.path === path),
    ),
  };
  const directory = join(target, alias);
  await mkdir(directory, { recursive: true });
  const tensors = loraTensors(layout).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const random = seededRandom(1);
  const values = tensors.map(({ shape }) => {
    const numbers = new Float32Array(shape[0] * shape[1]);
    fillUniform(random, numbers, 0.2);
    return numbers;
  });
  await writeFile(
    join(directory, 'adapter_model.safetensors'),
    writeSafetensors(tensors, values, { dtype: 'f32' }),
  );
  await writeFile(join(directory, 'adapter_config.json'), peftConfig({ id }, layout));
  process.stdout.write(`${alias} ${architecture}\n`);
}

import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import type { AdapterSource } from '../arithmetic/read-pairs.ts';

/** An adapter directory as adapter arithmetic reads it. Errors: the system's own for files that cannot be opened. */
export async function openAdapterDirectory(directory: string): Promise<AdapterSource> {
  const weights = join(directory, ADAPTER_WEIGHTS_FILE);
  return {
    config: await readFile(join(directory, ADAPTER_CONFIG_FILE)),
    weightBytes: (await stat(weights)).size,
    openWeights: async () => createReadStream(weights),
  };
}

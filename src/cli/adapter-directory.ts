import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PeftFiles } from '../adapter/peft-files.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { cliErrors } from './errors.ts';

/** An adapter directory as it is read. Errors: `input-unusable` for files that cannot be opened. */
export async function openAdapterDirectory(directory: string): Promise<PeftFiles> {
  const weights = join(directory, ADAPTER_WEIGHTS_FILE);
  try {
    return {
      config: await readFile(join(directory, ADAPTER_CONFIG_FILE)),
      weightBytes: (await stat(weights)).size,
      openWeights: async () => createReadStream(weights),
    };
  } catch (cause) {
    throw cliErrors.input(`${directory} is no adapter directory: ${(cause as Error).message}`, { cause });
  }
}

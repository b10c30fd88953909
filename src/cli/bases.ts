/** `loradrop bases list | pull`: base models as GGUF, which adapters are tried on. */
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type BaseSidecar, listBases, sidecarOf } from '../chat/bases.ts';
import { basesDirectory, bundlesDirectory } from '../compose/directories.ts';
import type { Config } from '../config/schema.ts';
import { parseHubFileAddress, pullFile } from '../models/hub/pull-file.ts';
import { openModelRegistry } from '../models/registry.ts';
import { SHIPPED_BUNDLE } from '../models/shipped.ts';
import { createByteProgress } from './byte-progress.ts';
import { cliErrors } from './errors.ts';
import { interruptible } from './interrupt.ts';
import { formatBytes, formatTable } from './output.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

/** Ids of the bases that the bundles on this machine are for. */
async function knownBases(config: Config): Promise<string[]> {
  const registry = await openModelRegistry({
    directory: bundlesDirectory(config),
    fallback: SHIPPED_BUNDLE,
    manifestsOnly: true,
  });
  return registry.list().map(({ manifest }) => manifest.base.id);
}

export const registerBases: Registration = (bases, output) => {
  addSettingOptions(bases.command('list').description('List the base models of the bases directory.'), [
    'dataDir',
    'basesDir',
    'bundlesDir',
  ]).action(async (options: object) => {
    const config = configFromOptions({ ...options });
    const known = await knownBases(config);
    const found = await listBases(basesDirectory(config), known);
    if (found.length === 0) output.line(`no base in ${basesDirectory(config)}`);
    else {
      const rows = found.map(({ id, file, bytes }) => [
        id,
        file,
        formatBytes(bytes),
        known.includes(id) ? 'yes' : 'no',
      ]);
      output.line(formatTable([['base', 'file', 'size', 'has a bundle'], ...rows]));
    }
  });

  addSettingOptions(
    bases
      .command('pull')
      .description(
        'Fetch a base model as GGUF from a Hugging Face Hub, for /v1/chat/completions and the console. A pull that was interrupted goes on where it stopped.',
      )
      .argument('<address>', 'hf://owner/name/file.gguf, with @revision after it for another than main')
      .option(
        '--base <id>',
        'which base it is, as bundles name it: HuggingFaceTB/SmolLM2-135M-Instruct (default: told from the file’s name)',
      ),
    ['dataDir', 'basesDir', 'bundlesDir', 'hfEndpoint', 'hfToken'],
  ).action(async (address: string, options: { readonly base?: string }) => {
    const config = configFromOptions({ ...options });
    const file = parseHubFileAddress(address);
    if (!/\.gguf$/i.test(file.path)) throw cliErrors.input('A base is a .gguf file.');
    const directory = basesDirectory(config);
    const bar = output.progress('pulling');
    const show = createByteProgress(bar);
    const pulled = await interruptible(
      (signal) =>
        pullFile(file, {
          directory,
          endpoint: config.hfEndpoint,
          token: config.hfToken,
          signal,
          onProgress: show,
        }),
      { left: 'the same command goes on from what is there' },
    ).finally(() => bar.stop());
    if (options.base !== undefined) {
      const sidecar: BaseSidecar = { base: options.base, source: address };
      await writeFile(sidecarOf(pulled.path), `${JSON.stringify(sidecar, null, 2)}\n`);
    }
    const found = await listBases(directory, await knownBases(config));
    const { id } = found.find((each) => each.path === pulled.path) ?? { id: options.base };
    const how = pulled.cached
      ? 'is there already'
      : `fetched, commit ${pulled.commit}, digest as the Hub says`;
    output.line(`${basename(pulled.path)}: ${how}`);
    output.line(`base ${id}: adapters for it can be tried at /v1/chat/completions and in the console`);
  });
};

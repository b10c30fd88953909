/** `loradrop adapters list | show | delete`: the adapters of a running service. */
import { Option } from 'commander';
import { formatBytes, formatCount, formatTable } from './output.ts';
import type { Registration } from './registration.ts';
import { addServiceOptions, type ServiceOptions, withService } from './service-client.ts';
import { wholeNumber } from './whole-number.ts';

type Json = { readonly json?: true };

/** Most adapters that are listed at once. */
const MAX_LISTED = 10_000;

export const registerAdapters: Registration = (adapters, output) => {
  addServiceOptions(
    adapters
      .command('list')
      .description('List the adapters that the service keeps, the last stored first.')
      .addOption(
        new Option('--limit <number>', 'the newest so many')
          .argParser(wholeNumber('--limit', 1, MAX_LISTED))
          .default(20),
      )
      .option('--model <id>', 'those that one model made')
      .option('--base <id>', 'those for one base')
      .option('--json', 'as JSON, an adapter a line'),
  ).action((options: ServiceOptions & Json & { limit: number; model?: string; base?: string }) =>
    withService(options, async (client, signal) => {
      const rows: string[][] = [];
      const { limit, model, base: baseModel } = options;
      for await (const adapter of client.listAdapters({ model, baseModel, signal })) {
        if (options.json) output.line(JSON.stringify(adapter));
        const { id, bytes, createdAt, name = '' } = adapter;
        if (rows.push([id, adapter.model, formatBytes(bytes), createdAt, name]) === limit) break;
      }
      if (options.json) return;
      if (rows.length === 0) output.line('no adapter');
      else output.line(formatTable([['id', 'model', 'size', 'made', 'name'], ...rows]));
    }),
  );

  addServiceOptions(
    adapters
      .command('show')
      .description('Show what an adapter is.')
      .argument('<id>', 'the adapter')
      .option('--json', 'as JSON'),
  ).action((id: string, options: ServiceOptions & Json) =>
    withService(options, async (client, signal) => {
      const adapter = await client.getAdapter(id, { signal });
      if (options.json) {
        output.line(JSON.stringify(adapter));
        return;
      }
      output.line(
        formatTable([
          ['adapter', adapter.id],
          ['model', adapter.model],
          ['base', adapter.baseModel],
          ['rank', `${adapter.rank}, alpha ${adapter.alpha}, ${adapter.dtype}`],
          ['parameters', formatCount(adapter.parameters)],
          ['expires', adapter.expiresAt],
          ...adapter.files.map(({ name, bytes, sha256 }) => [
            'file',
            `${name}  ${formatBytes(bytes)}  sha256 ${sha256}`,
          ]),
          ...(adapter.warnings ?? []).map((warning) => ['warning', warning]),
        ]),
      );
    }),
  );

  addServiceOptions(
    adapters.command('delete').description('Delete adapters.').argument('<ids...>', 'the adapters'),
  ).action((ids: string[], options: ServiceOptions) =>
    withService(options, async (client, signal) => {
      for (const id of ids) {
        await client.deleteAdapter(id, { signal });
        output.line(`${id} deleted`);
      }
    }),
  );
};

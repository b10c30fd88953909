/** `loradrop get`: adapters of a running service, as directories that PEFT loads. */
import { join } from 'node:path';
import { type Client, ProblemError } from '../client/client.ts';
import { cliErrors } from './errors.ts';
import { fetchAdapter } from './fetch-adapter.ts';
import { watchJob } from './job-text.ts';
import type { Output } from './output.ts';
import type { Registration } from './registration.ts';
import { addServiceOptions, type ServiceOptions, withService } from './service-client.ts';

export const registerGet: Registration = (command, output) => {
  command
    .argument('<id>', 'a job, whose adapters are waited for and fetched, or an adapter')
    .option(
      '--out <dir>',
      'directory of the files; a job with several adapters has one below it for each (default: ./ID)',
    )
    .option('--json', 'the adapters’ records as JSON, one a line');
  addServiceOptions(command).action((id: string, options: ServiceOptions & { out?: string; json?: true }) =>
    withService(
      options,
      async (client, signal) => {
        const ids = await adapterIds(client, id, { output, signal });
        await fetchAdapters(client, ids, {
          directory: options.out ?? id,
          json: options.json ?? false,
          output,
          signal,
        });
      },
      { left: 'the same command goes on from what is there' },
    ),
  );
};

/** The adapters that an id stands for: those of a job, once it has succeeded, or the one. */
async function adapterIds(
  client: Client,
  id: string,
  { output, signal }: { output: Output; signal: AbortSignal },
): Promise<string[]> {
  try {
    const job = await client.getJob(id, { signal });
    const done = job.status === 'succeeded' ? job : await watchJob(client, id, { output, signal });
    return done.adapters.map((adapter) => adapter.id);
  } catch (error) {
    if (error instanceof ProblemError && error.code === 'job-not-found') return [id];
    throw error;
  }
}

/** Fetches adapters, one into the directory itself, several below it, and tells of each. Errors: those of {@link fetchAdapter}. */
export async function fetchAdapters(
  client: Client,
  ids: readonly string[],
  {
    directory,
    json,
    output,
    signal,
  }: { directory: string; json: boolean; output: Output; signal: AbortSignal },
): Promise<void> {
  if (ids.length === 0) throw cliErrors.input('The job has no adapter.');
  for (const id of ids) {
    const place = ids.length === 1 ? directory : join(directory, id);
    const adapter = await fetchAdapter(client, id, { directory: place, output, signal });
    const digests = adapter.files.map(({ name, sha256 }) => `  ${name}  sha256 ${sha256}`);
    output.line(json ? JSON.stringify(adapter) : [`${place}: verified`, ...digests].join('\n'));
  }
}

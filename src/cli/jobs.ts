/** `loradrop jobs`, `watch` and `cancel`: the jobs of a running service. */
import { Option } from 'commander';
import type { Job } from '../client/client.ts';
import { JOB_COLUMNS, jobRow, jobText, watchJob } from './job-text.ts';
import { formatTable } from './output.ts';
import type { Registration } from './registration.ts';
import { addServiceOptions, type ServiceOptions, withService } from './service-client.ts';
import { wholeNumber } from './whole-number.ts';

type Json = { readonly json?: true };

/** Most jobs that are listed at once. */
const MAX_LISTED = 10_000;
const STATUSES: readonly Job['status'][] = ['queued', 'processing', 'succeeded', 'failed', 'canceled'];

export const registerJobs: Registration = (command, output) => {
  command
    .argument('[id]', 'a job, to show it alone')
    .addOption(new Option('--status <status>', 'those of one status').choices(STATUSES))
    .option('--model <id>', 'those of one model')
    .addOption(
      new Option('--limit <number>', 'the newest so many')
        .argParser(wholeNumber('--limit', 1, MAX_LISTED))
        .default(20),
    )
    .option('--json', 'as JSON, a job a line');
  addServiceOptions(command).action(
    (
      id: string | undefined,
      options: ServiceOptions & Json & { status?: Job['status']; model?: string; limit: number },
    ) =>
      withService(options, async (client, signal) => {
        if (id !== undefined) {
          const job = await client.getJob(id, { signal });
          output.line(options.json ? JSON.stringify(job) : jobText(job));
          return;
        }
        const jobs: Job[] = [];
        const { status, model, limit } = options;
        for await (const job of client.listJobs({ status, model, signal })) {
          if (jobs.push(job) === limit) break;
        }
        if (options.json) for (const job of jobs) output.line(JSON.stringify(job));
        else if (jobs.length === 0) output.line('no job');
        else output.line(formatTable([JOB_COLUMNS, ...jobs.map(jobRow)]));
      }),
  );
};

export const registerWatch: Registration = (command, output) => {
  command.argument('<id>', 'the job').option('--json', 'as JSON, an event a line; the last one is the job');
  addServiceOptions(command).action((id: string, options: ServiceOptions & Json) =>
    withService(options, async (client, signal) => {
      if (!options.json) {
        output.line(jobText(await watchJob(client, id, { output, signal })));
        return;
      }
      const job = await client.waitForJob(id, {
        signal,
        onProgress: (progress) => output.line(JSON.stringify(progress)),
      });
      output.line(JSON.stringify(job));
    }),
  );
};

export const registerCancel: Registration = (command, output) => {
  command.argument('<ids...>', 'the jobs').option('--json', 'as JSON, a job a line');
  addServiceOptions(command).action((ids: string[], options: ServiceOptions & Json) =>
    withService(options, async (client, signal) => {
      for (const id of ids) {
        const job = await client.cancelJob(id, { signal });
        output.line(options.json ? JSON.stringify(job) : `${job.id} ${job.status}`);
      }
    }),
  );
};

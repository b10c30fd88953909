/** `loradrop start | serve | worker`: the long-running roles. */
import { once } from 'node:events';
import { type Role, startService } from '../compose.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';

const ROLES: readonly { command: string; role: Role; description: string }[] = [
  { command: 'start', role: 'all', description: 'Run the API and a worker in one process.' },
  {
    command: 'serve',
    role: 'api',
    description: 'Run the API alone; needs QUEUE_URL and a worker elsewhere.',
  },
  {
    command: 'worker',
    role: 'worker',
    description: 'Run a worker alone (with probes and metrics on PORT); needs QUEUE_URL.',
  },
];

export const registerService: Registration = (program) => {
  for (const { command, role, description } of ROLES) {
    addSettingOptions(program.command(command).description(description)).action(async (options) => {
      const config = configFromOptions(options);
      const stop = new AbortController();
      // Once each: a second signal while draining ends the process the default way.
      for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
      const { signal } = stop;
      const service = await startService(config, role, { pretty: process.stdout.isTTY, signal }).catch(
        (error) => {
          if (signal.aborted) return undefined;
          throw error;
        },
      );
      if (!signal.aborted) await once(signal, 'abort');
      await service?.close();
    });
  }
};

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
      const service = await startService(configFromOptions(options), role, { pretty: process.stdout.isTTY });
      // A second signal while draining ends the process the default way.
      await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
      await service.close();
    });
  }
};

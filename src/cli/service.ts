/** `loradrop start | serve | worker`: the long-running roles. */
import { once } from 'node:events';
import type { Role } from '../compose/role.ts';
import type { Registration } from './registration.ts';
import { addSettingOptions, configFromOptions } from './settings.ts';
import { endSoon, stopSignal } from './stop-signals.ts';

const registerRole =
  (role: Role): Registration =>
  (command) => {
    addSettingOptions(command).action(async (options) => {
      const config = configFromOptions(options);
      const signal = stopSignal();
      // Not before it is sure that a service is wanted: everything that one is made of takes most of a second to load.
      const { startService } = await import('../compose.ts');
      const service = await startService(config, role, { pretty: process.stdout.isTTY, signal }).catch(
        (error) => {
          if (signal.aborted) return undefined;
          throw error;
        },
      );
      if (!signal.aborted) await once(signal, 'abort');
      try {
        await service?.close();
      } finally {
        endSoon();
      }
    });
  };

export const registerStart = registerRole('all');
export const registerServe = registerRole('api');
export const registerWorker = registerRole('worker');

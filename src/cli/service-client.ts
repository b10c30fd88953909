/** Commands that work with a running service: where it is, and what its failures are for whoever runs the command. */
import { type Command, Option } from 'commander';
import {
  type Client,
  createClient,
  JobEndedError,
  ProblemError,
  UnreachableError,
} from '../client/client.ts';
import { cliErrors } from './errors.ts';
import { interruptible } from './interrupt.ts';

/** Where the service is; both may come from the environment. */
export type ServiceOptions = { readonly url: string; readonly key?: string };

const ABOUT = `
The address of the service comes from --url or LORADROP_URL, an API key from LORADROP_KEY.
Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 the job failed or was canceled, 4 the service was not reached or is
overloaded (the same command may do better later).`;

/** Adds the options that say where the service is, and what the command's exit statuses mean. */
export function addServiceOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--url <url>', 'address of the service')
        .env('LORADROP_URL')
        .default('http://localhost:8080'),
    )
    .addOption(
      // Hidden: whoever lists processes sees arguments.
      new Option('--key <key>', 'API key').env('LORADROP_KEY').hideHelp(),
    )
    .addHelpText('after', ABOUT);
}

/**
 * Runs work with a client of the service; Ctrl-C stops it. Errors: `service-refused` with the service's own words,
 * `service-busy`, `service-unreachable`, `job-ended`, `input-unusable` for an address that is none.
 */
export function withService<T>(
  { url, key }: ServiceOptions,
  work: (client: Client, signal: AbortSignal) => Promise<T>,
  options: { left?: string } = { left: 'what the service does goes on' },
): Promise<T> {
  if (!/^https?:\/\/./.test(url) || !URL.canParse(url)) {
    throw cliErrors.input('The address of the service begins with http:// or https://.');
  }
  return interruptible(
    (signal) =>
      work(createClient({ url, ...(key !== undefined && key !== '' && { key }) }), signal).catch((error) => {
        throw asCliError(error);
      }),
    options,
  );
}

function asCliError(error: unknown): unknown {
  if (error instanceof ProblemError) {
    const { problem, status, code } = error;
    const fields = problem?.errors ?? [];
    const isBusy = status === 429 || (status >= 502 && status <= 504);
    return cliErrors[isBusy ? 'busy' : 'refused'](`${error.message} (${status} ${code})`, {
      cause: error,
      fields,
    });
  }
  if (error instanceof UnreachableError) {
    const cause = error.cause instanceof Error ? error.cause : undefined;
    const { code } = (cause?.cause ?? {}) as { code?: string };
    return cliErrors.unreachable(
      `${error.message}${code ? ` ${code}.` : ''} Is it running, and is LORADROP_URL right?`,
      {
        cause: error,
      },
    );
  }
  if (error instanceof JobEndedError) return cliErrors.jobEnded(error.message, { cause: error });
  return error;
}

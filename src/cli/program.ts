/** The command line: argv → a command → an exit status. */
import { Command, CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import { crashText } from '../base/crash-text.ts';
import { LoradropError } from '../base/errors.ts';
import { registerConfig } from './config.ts';
import { registerDemo } from './demo.ts';
import { registerDocs } from './docs.ts';
import { registerEvaluate } from './evaluate.ts';
import { registerGenerate } from './generate.ts';
import { registerImport } from './import.ts';
import { registerInspect } from './inspect.ts';
import { registerKeys } from './keys.ts';
import { registerModels } from './models.ts';
import { createOutput, type Output } from './output.ts';
import type { Registration } from './registration.ts';
import { registerService } from './service.ts';
import { registerWebhooks } from './webhooks.ts';

const REGISTRATIONS: readonly Registration[] = [
  registerService,
  registerDemo,
  registerGenerate,
  registerEvaluate,
  registerImport,
  registerModels,
  registerKeys,
  registerWebhooks,
  registerInspect,
  registerConfig,
  registerDocs,
];

/**
 * Runs one command line (`argv` as in `process.argv`) and answers the exit status: 0 done, 1 failed, 2 wrong usage.
 * A failure of ours is one sentence on standard error; anything else shows its stack, since it is a defect.
 */
export async function runCli(argv: readonly string[], output: Output = createOutput()): Promise<number> {
  const program = new Command('loradrop')
    .description('Prompts in, LoRA adapter out: serves Drag-and-Drop LLM generators.')
    .version(packageJson.version)
    .exitOverride()
    .showHelpAfterError('(add --help for the options)')
    .configureHelp({ showGlobalOptions: true });
  for (const register of REGISTRATIONS) register(program, output);
  // Commander copies exitOverride only into commands made after it was set, which holds here.
  try {
    await program.parseAsync([...argv]);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof LoradropError) {
      process.stderr.write(`loradrop: ${error.title} ${error.message} [${error.code}]\n`);
      for (const { pointer, message } of error.fields) process.stderr.write(`  ${pointer}: ${message}\n`);
      return 1;
    }
    process.stderr.write(`${crashText(error)}\n`);
    return 1;
  }
}

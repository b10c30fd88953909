/** The command line: argv → a command → an exit status. */
import { Command, CommanderError } from 'commander';
import { crashText } from '../base/crash-text.ts';
import { LoradropError } from '../base/errors.ts';
import { EXIT_STATUSES } from './exit-statuses.ts';
import { createOutput, type Output } from './output.ts';
import type { Registration } from './registration.ts';
import { versionText } from './version.ts';

/** A command in the list of all; what it needs is loaded when it is run, since most of it is heavy. */
type Entry = { readonly description: string; readonly load: () => Promise<Registration> };

const COMMANDS: Readonly<Record<string, Entry>> = {
  start: {
    description: 'Run the API and a worker in one process.',
    load: async () => (await import('./service.ts')).registerStart,
  },
  serve: {
    description: 'Run the API alone; needs QUEUE_URL and a worker elsewhere.',
    load: async () => (await import('./service.ts')).registerServe,
  },
  worker: {
    description: 'Run a worker alone (with probes and metrics on PORT); needs QUEUE_URL.',
    load: async () => (await import('./service.ts')).registerWorker,
  },
  demo: {
    description: 'Show the main job on real prompts: start, generate, verify, stop.',
    load: async () => (await import('./demo.ts')).registerDemo,
  },
  generate: {
    description: 'Make adapters from a bundle and a file of prompts, without a server.',
    load: async () => (await import('./generate.ts')).registerGenerate,
  },
  submit: {
    description: 'Send prompts to a running service; wait for the adapter and fetch it with --out.',
    load: async () => (await import('./submit.ts')).registerSubmit,
  },
  jobs: {
    description: 'List the jobs of a running service, or show one.',
    load: async () => (await import('./jobs.ts')).registerJobs,
  },
  watch: {
    description: 'Follow a job of a running service until it ends.',
    load: async () => (await import('./jobs.ts')).registerWatch,
  },
  get: {
    description: 'Fetch adapters from a running service: verified, and from where an earlier try broke off.',
    load: async () => (await import('./get.ts')).registerGet,
  },
  cancel: {
    description: 'Cancel jobs of a running service.',
    load: async () => (await import('./jobs.ts')).registerCancel,
  },
  adapters: {
    description: 'List, show and delete adapters of a running service.',
    load: async () => (await import('./adapters.ts')).registerAdapters,
  },
  transform: {
    description: 'Scale, cut or add up adapters without training.',
    load: async () => (await import('./transform.ts')).registerTransform,
  },
  convert: {
    description: 'Write an adapter as GGUF, for llama.cpp.',
    load: async () => (await import('./convert.ts')).registerConvert,
  },
  evaluate: {
    description: "Compare a base model with and without a bundle's adapters on labelled rows.",
    load: async () => (await import('./evaluate.ts')).registerEvaluate,
  },
  import: {
    description: 'Make a bundle from a DnD decoder checkpoint (PyTorch or safetensors) and an ONNX encoder.',
    load: async () => (await import('./import.ts')).registerImport,
  },
  models: {
    description: 'Work with the bundles on this machine, and list those that a running service has.',
    load: async () => (await import('./models.ts')).registerModels,
  },
  bases: {
    description: 'Get base models as GGUF, to try adapters on.',
    load: async () => (await import('./bases.ts')).registerBases,
  },
  keys: {
    description: 'Make, list and revoke API keys.',
    load: async () => (await import('./keys.ts')).registerKeys,
  },
  webhooks: {
    description: 'Make and rotate the secrets that webhooks are signed with.',
    load: async () => (await import('./webhooks.ts')).registerWebhooks,
  },
  store: {
    description: 'Copy adapters from one store to another.',
    load: async () => (await import('./store.ts')).registerStore,
  },
  inspect: {
    description: 'Show the tensors of a safetensors file.',
    load: async () => (await import('./inspect.ts')).registerInspect,
  },
  config: {
    description: 'Show the settings as they hold, secrets hidden.',
    load: async () => (await import('./config.ts')).registerConfig,
  },
  completion: {
    description: 'Print what makes a shell complete commands and options.',
    load: async () => (await import('./completion.ts')).registerCompletion,
  },
  docs: {
    description:
      'Write what is made from code and other files: openapi/openapi.json, .env.example, THIRD_PARTY_NOTICES.md, the settings table, Kubernetes’ copies of alerts and dashboard (for contributors).',
    load: async () => (await import('./docs.ts')).registerDocs,
  },
};

/**
 * Runs one command line (`argv` as in `process.argv`) and answers the exit status: 0 done, 1 failed, 2 wrong usage; commands
 * that ask a running service have more.
 * A failure of ours is one sentence on standard error; anything else shows its stack, since it is a defect.
 */
export async function runCli(argv: readonly string[], output: Output = createOutput()): Promise<number> {
  const program = new Command('loradrop')
    .description('Prompts in, LoRA adapter out: serves Drag-and-Drop LLM generators.')
    .option('-V, --version', 'show the version, and what it was built from')
    .on('option:version', () => {
      output.line(versionText());
      throw new CommanderError(0, 'commander.version', '');
    })
    .exitOverride()
    .showHelpAfterError('(add --help for the options)')
    .configureHelp({ showGlobalOptions: true });
  // Commander copies exitOverride only into commands made after it was set, which holds here.
  for (const [name, { description }] of Object.entries(COMMANDS)) {
    program.command(name).description(description);
  }
  const register = async (command: Command) => (await COMMANDS[command.name()]?.load())?.(command, output);
  program.hook('preSubcommand', (_program, command) => register(command));
  try {
    // `help NAME` shows the command's help without going to it, so without the hook.
    const [, , verb, name] = argv;
    const asked = program.commands.find((command) => verb === 'help' && command.name() === name);
    if (asked) await register(asked);
    // It tells of all the others; it is given its own options when it is reached.
    const others = program.commands.filter((command) => command.name() !== verb);
    if (verb === 'completion') for (const command of others) await register(command);
    await program.parseAsync([...argv]);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof LoradropError) {
      process.stderr.write(`loradrop: ${error.title} ${error.message} [${error.code}]\n`);
      for (const { pointer, message } of error.fields) process.stderr.write(`  ${pointer}: ${message}\n`);
      return EXIT_STATUSES[error.code] ?? 1;
    }
    process.stderr.write(`${crashText(error)}\n`);
    return 1;
  }
}

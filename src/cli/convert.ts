/** `loradrop convert`: an adapter directory → a GGUF file for llama.cpp. */
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Option } from 'commander';
import { openGguf, STORED_GGUF_DTYPE } from '../adapter/convert-gguf.ts';
import { GGUF_DTYPES, type GgufDtype } from '../adapter/gguf.ts';
import { GGUF_ARCHITECTURES, type GgufTarget, reordersRows } from '../adapter/gguf-architecture.ts';
import { parsePeftConfig } from '../adapter/read-peft-config.ts';
import { newId } from '../base/ids.ts';
import { findBase, KNOWN_BASES } from '../lora/bases.ts';
import type { AttentionHeads } from '../lora/layout.ts';
import { openAdapterDirectory } from './adapter-directory.ts';
import { cliErrors } from './errors.ts';
import { interruptible } from './interrupt.ts';
import { formatBytes, type Output } from './output.ts';
import { writeOutputFile } from './output-directory.ts';
import type { Registration } from './registration.ts';

type Options = {
  readonly adapter: string;
  readonly out: string;
  readonly dtype: GgufDtype;
  readonly base?: string;
  readonly architecture?: string;
  readonly heads?: AttentionHeads;
};

export const registerConvert: Registration = (command, output) => {
  command
    .requiredOption('--adapter <dir>', 'adapter directory')
    .requiredOption('--out <file>', 'GGUF file to make')
    .addOption(
      new Option('--dtype <dtype>', 'format of the tensors').choices(GGUF_DTYPES).default(STORED_GGUF_DTYPE),
    )
    .addOption(
      new Option(
        '--base <id>',
        `known base: ${KNOWN_BASES.map(({ alias }) => alias).join(', ')}, or its full id; absent: the one that the adapter names`,
      ).conflicts(['architecture', 'heads']),
    )
    .addOption(
      new Option(
        '--architecture <name>',
        'of a base that is not known: `model_type` of its config.json',
      ).choices(GGUF_ARCHITECTURES),
    )
    .option(
      '--heads <q,kv>',
      'of a Llama or Mistral that is not known: `num_attention_heads` and `num_key_value_heads` of its config.json',
      readHeads,
    )
    .addHelpText(
      'after',
      `
Examples:
  for the bundle that ships:  loradrop convert --adapter ./adapter --out adapter.gguf
  for another Llama:          loradrop convert --adapter ./adapter --out adapter.gguf --architecture llama --heads 32,8
  in llama.cpp:               llama-server --model base.gguf --lora adapter.gguf`,
    )
    .action((options: Options) => interruptible((signal) => convert(options, output, signal)));
};

async function convert(options: Options, output: Output, signal: AbortSignal): Promise<void> {
  const { adapter, out, dtype } = options;
  const target = resolve(out);
  if (await stat(target).catch(() => undefined)) throw cliErrors.output(`${out} is there already.`);
  const files = await openAdapterDirectory(adapter);
  const base = targetOf(options, parsePeftConfig(files.config).base_model_name_or_path);
  const file = await openGguf(files, { dtype, target: base });
  const making = join(dirname(target), `.${basename(target)}.${newId('making')}`);
  try {
    await writeOutputFile(making, await file.read({ signal }), signal);
    await rename(making, target);
  } finally {
    await rm(making, { force: true });
  }
  output.line(
    `${out}: ${base.architecture}, ${file.tensors} tensors, alpha ${file.alpha}, ${dtype}, ${formatBytes(file.bytes)}`,
  );
}

/** What the options say of the base, or what is known of the one that the adapter names. Errors: `input-unusable`. */
function targetOf({ base, architecture, heads }: Options, own: string): GgufTarget {
  const known = findBase(base ?? own);
  if (base !== undefined && !known) {
    throw cliErrors.input(
      `${base} is no known base. Give its --architecture, and --heads for a Llama or Mistral.`,
    );
  }
  const chosen = architecture ?? known?.architecture;
  if (chosen === undefined) {
    throw cliErrors.input(
      `The adapter's base, ${own}, is not a known one. Give its --architecture (${GGUF_ARCHITECTURES.join(', ')}), and --heads for a Llama or Mistral.`,
    );
  }
  // Heads of a known base do not belong to an architecture that somebody named.
  const count = heads ?? (architecture === undefined ? known?.heads : undefined);
  if (reordersRows(chosen) && !count) {
    throw cliErrors.input(
      `The rows of a ${chosen} adapter are reordered head by head. Give --heads: num_attention_heads and num_key_value_heads of the base's config.json, as in --heads 32,8.`,
    );
  }
  return { architecture: chosen, ...(count && { heads: count }) };
}

function readHeads(text: string): AttentionHeads {
  const [, heads, kvHeads] = /^([1-9]\d{0,4}),([1-9]\d{0,4})$/.exec(text) ?? [];
  if (!heads) throw cliErrors.input('--heads is two whole numbers with a comma between them, as in 32,8.');
  return { heads: Number(heads), kvHeads: Number(kvHeads) };
}

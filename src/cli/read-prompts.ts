/** A file of prompts. */
import { readFile, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Config } from '../config/schema.ts';
import type { PromptChoice } from '../prompts/choose-column.ts';
import { decodeUtf8 } from '../prompts/decode-text.ts';
import { PROMPT_FILES, promptFormatOf } from '../prompts/prompt-format.ts';
import { readPrompts } from '../prompts/read-prompts.ts';
import type { PromptReading } from '../prompts/read-unpacked.ts';
import { cliErrors } from './errors.ts';
import { formatBytes, formatCount } from './output.ts';

/** A file of prompts as it was read. */
export type PromptFile = PromptReading & {
  /** In which column they were and how many there are, for a person. */
  readonly about: string;
};

/**
 * The prompts of a file, in the format that its name or its first bytes tell. Errors: `input-unusable`, those of
 * `readPrompts`.
 */
export async function readPromptFile(
  file: string,
  config: Config,
  { choice, signal }: { choice: PromptChoice; signal: AbortSignal },
): Promise<PromptFile> {
  const format = promptFormatOf(file);
  if (!format) throw cliErrors.input(`${file} is none of ${PROMPT_FILES}.`);
  const { maxBodyBytes } = config;
  const bytes = await readWhole(file, { name: 'MAX_BODY_BYTES', bytes: maxBodyBytes });
  const reading = await readPrompts(bytes, {
    format,
    limits: { ...config, maxBytes: maxBodyBytes },
    choice,
    signal,
  });
  const { field, rows, distinct } = reading.source;
  const where =
    field === undefined ? '' : ` from ${choice.template === undefined ? '' : 'a template of '}${field}`;
  return { ...reading, about: `${formatCount(rows)} prompts${where}, ${formatCount(distinct)} distinct` };
}

/** Options that say where a file has its prompts. */
export type PromptChoiceOptions = { readonly promptField?: string; readonly promptTemplate?: string };

/** The choice that options say. */
export function choiceOf({ promptField, promptTemplate }: PromptChoiceOptions): PromptChoice {
  return {
    ...(promptField !== undefined && { field: promptField }),
    ...(promptTemplate !== undefined && { template: promptTemplate }),
  };
}

/** Adds the options of {@link PromptChoiceOptions}. */
export function addPromptChoice(command: Command): Command {
  return command
    .option(
      '--prompt-field <name>',
      'column of the prompts, or a JSON pointer into a row; default: told by its name',
    )
    .option('--prompt-template <text>', 'makes a prompt of several columns, as in "{question} {context}"');
}

/** A text file that is not larger than a named limit. Errors: `input-unusable`, `text-not-utf8`. */
export async function readTextFile(file: string, limit: { name: string; bytes: number }): Promise<string> {
  return decodeUtf8(await readWhole(file, limit));
}

async function readWhole(file: string, limit: { name: string; bytes: number }): Promise<Buffer> {
  const unreadable = (cause: NodeJS.ErrnoException) => {
    throw cliErrors.input(`${file} cannot be read (${cause.code}).`, { cause });
  };
  const facts = await stat(file).catch(unreadable);
  if (facts.size > limit.bytes) {
    throw cliErrors.input(
      `${file} has ${formatBytes(facts.size)}; ${limit.name} allows ${formatBytes(limit.bytes)}.`,
    );
  }
  return readFile(file).catch(unreadable);
}

/** A file of prompts. */
import { readFile, stat } from 'node:fs/promises';
import type { Config } from '../config/schema.ts';
import { decodeUtf8, parsePrompts, promptFormatOf } from '../prompts/parse-prompts.ts';
import { cliErrors } from './errors.ts';
import { formatBytes } from './output.ts';

/** The prompts of a file, by its name `.txt`, `.jsonl`, `.ndjson` or `.json`. Errors: `input-unusable`, those of the prompts. */
export async function readPrompts(file: string, config: Config): Promise<string[]> {
  const format = promptFormatOf(file);
  if (!format) throw cliErrors.input(`${file} is neither .txt, .jsonl, .ndjson nor .json.`);
  const text = await readTextFile(file, { name: 'MAX_BODY_BYTES', bytes: config.maxBodyBytes });
  return parsePrompts(text, format, config);
}

/** A text file that is not larger than a named limit. Errors: `input-unusable`, `text-not-utf8`. */
export async function readTextFile(file: string, limit: { name: string; bytes: number }): Promise<string> {
  const unreadable = (cause: NodeJS.ErrnoException) => {
    throw cliErrors.input(`${file} cannot be read (${cause.code}).`, { cause });
  };
  const facts = await stat(file).catch(unreadable);
  if (facts.size > limit.bytes) {
    throw cliErrors.input(
      `${file} has ${formatBytes(facts.size)}; ${limit.name} allows ${formatBytes(limit.bytes)}.`,
    );
  }
  return decodeUtf8(await readFile(file).catch(unreadable));
}

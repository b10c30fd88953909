/** In which format prompts lie, as names and media types tell. */

/** How prompts lie in bytes: a prompt a line, a JSON value a line, one JSON value, rows of columns. */
export const PROMPT_FORMATS = ['text', 'jsonl', 'json', 'csv', 'tsv', 'parquet'] as const;
/** One of {@link PROMPT_FORMATS}. */
export type PromptFormat = (typeof PROMPT_FORMATS)[number];

const FORMAT_BY_EXTENSION: Readonly<Record<string, PromptFormat>> = {
  txt: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  csv: 'csv',
  tsv: 'tsv',
  parquet: 'parquet',
};

/** The names of files that are taken, for messages. `.gz` and `.zst` may follow. */
export const PROMPT_FILES =
  '.txt, .jsonl, .ndjson, .json, .csv, .tsv or .parquet (also .gz or .zst of these)';

/** The format that a file's name stands for (`.txt`, `.csv`, `.jsonl.gz` …), or undefined. */
export function promptFormatOf(fileName: string): PromptFormat | undefined {
  const extension = /\.([A-Za-z]+)(\.(gz|gzip|zst|zstd))?$/i.exec(fileName)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(FORMAT_BY_EXTENSION, extension) ? FORMAT_BY_EXTENSION[extension] : undefined;
}

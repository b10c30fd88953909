/** Bytes of a known format → prompts, in the process that calls. */
import { checkPrompts, type PromptLimits } from './check-prompts.ts';
import { choosePrompts, KNOWN_COLUMNS, type PromptChoice, placesOf } from './choose-column.ts';
import { decodeText } from './decode-text.ts';
import { parseTable } from './parse-table.ts';
import { parseArray, parseJsonLines, parseLines } from './parse-text.ts';
import type { PromptFormat } from './prompt-format.ts';
import { readParquet } from './read-parquet.ts';
import type { Rows } from './rows.ts';
import { fieldsOf, parseField, parseTemplate } from './template.ts';
import { type PromptsFrom, type TrainingCounts, trainingPrompts } from './training-rows.ts';

/** Where prompts were found, as a job and the command line tell it. */
export type PromptSource = {
  readonly format: PromptFormat;
  /** The column or columns, as in `question` or `instruction + input`; absent where rows are plain texts. */
  readonly field?: string;
  readonly rows: number;
  /** Different texts among them. */
  readonly distinct: number;
};

/** The prompts of bytes. */
export type PromptReading = {
  readonly prompts: string[];
  readonly source: PromptSource;
  /** Sentences for the client, without prompt text. */
  readonly warnings: string[];
  /** What else a fine-tuning file holds; absent for other rows. */
  readonly training?: TrainingCounts;
};

/** How {@link readUnpacked} reads. It can be sent to another process. */
export type ReadOptions = {
  readonly format: PromptFormat;
  readonly limits: PromptLimits & { readonly maxBytes: number };
  readonly choice: PromptChoice;
};

/** The prompts of bytes that are not compressed; see `readPrompts`. */
export async function readUnpacked(bytes: Uint8Array, options: ReadOptions): Promise<PromptReading> {
  const { format, limits, choice } = options;
  const rows = await readRows(bytes, options);
  if (choice.training) return readTraining(rows, options, choice.training);
  const { prompts, field, warnings } = choosePrompts(rows, choice, limits.maxBytes);
  const { pointer, place } = placesOf(rows);
  checkPrompts(prompts, limits, pointer, place);
  return { prompts, source: sourceOf(prompts, { format, ...(field !== undefined && { field }) }), warnings };
}

function readTraining(rows: Rows, { format, limits }: ReadOptions, from: PromptsFrom): PromptReading {
  const { prompts, rowOf, counts, media } = trainingPrompts(rows, from);
  const { pointer, place } = placesOf(rows);
  checkPrompts(
    prompts,
    limits,
    (index) => pointer(rowOf[index]!),
    (index) => place(rowOf[index]!),
  );
  return {
    prompts,
    source: sourceOf(prompts, { format, field: 'messages' }),
    warnings:
      media > 0
        ? [
            `${media} of ${prompts.length} prompts have images or other parts beside their text; only the text is used.`,
          ]
        : [],
    training: counts,
  };
}

/** What is told of prompts that came from one place. */
export function sourceOf(
  prompts: readonly string[],
  { format, field }: Pick<PromptSource, 'format' | 'field'>,
): PromptSource {
  const distinct = new Set(prompts).size;
  return { format, ...(field !== undefined && { field }), rows: prompts.length, distinct };
}

function readRows(bytes: Uint8Array, { format, limits, choice }: ReadOptions): Rows | Promise<Rows> {
  const wanted = wantedColumns(choice);
  if (format === 'parquet') return readParquet(bytes, limits, wanted);
  const text = decodeText(bytes);
  if (format === 'text') return parseLines(text, limits);
  if (format === 'jsonl') return parseJsonLines(text, limits);
  if (format === 'json') return parseArray(text, limits);
  return parseTable(text, format, limits, wanted);
}

/** The top-level columns that a choice needs, or without one those that any shape of rows has. */
function wantedColumns({ field, template, training }: PromptChoice): (column: string) => boolean {
  if (training) return () => true;
  const paths = [
    ...(field === undefined ? [] : [parseField(field)]),
    ...(template === undefined ? [] : fieldsOf(parseTemplate(template))),
  ];
  const names = new Set(paths.length > 0 ? paths.map(({ steps }) => steps[0]!) : KNOWN_COLUMNS);
  return (column) => names.has(column);
}

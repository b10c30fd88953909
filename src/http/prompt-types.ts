/** Media types of bodies with prompts. */
import type { PromptFormat } from '../prompts/prompt-format.ts';

/** Media types of bodies that hold nothing but prompts. */
export const PROMPT_TYPES: Readonly<Record<string, PromptFormat>> = {
  'text/plain': 'text',
  'application/x-ndjson': 'jsonl',
  'application/jsonl': 'jsonl',
  'text/csv': 'csv',
  'text/tab-separated-values': 'tsv',
  'application/vnd.apache.parquet': 'parquet',
};

/** Media type of forms. */
export const FORM_TYPE = 'multipart/form-data';

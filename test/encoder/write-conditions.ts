/**
 * Writes the conditions of prompts as Loradrop makes them, for other programs to compare:
 *
 *     node test/encoder/write-conditions.ts BUNDLE PROMPTS OUT.safetensors
 *
 * Each prompt of the file (`.txt`, `.jsonl`, `.csv` and what else `generate` takes) is one row of `condition` `[prompts, tokens, width]` and of `ids`
 * `[prompts, tokens]`, both float32.
 */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { createByteLru } from '../../src/base/lru.ts';
import { availableThreads } from '../../src/inference/available-threads.ts';
import { createConditionMaker } from '../../src/inference/conditions.ts';
import { openEncoder } from '../../src/inference/encoder.ts';
import { openTokenizer } from '../../src/inference/tokenizer.ts';
import { openBundle } from '../../src/models/open.ts';
import { promptFormatOf } from '../../src/prompts/prompt-format.ts';
import { readPrompts } from '../../src/prompts/read-prompts.ts';

const LIMITS = { maxPrompts: 100_000, maxPromptChars: 1_000_000, maxBytes: 1 << 28 };
const TOKEN_BUDGET = 8192;

const [, , directory, file, out] = process.argv as [string, string, string, string, string];
const bundle = await openBundle(directory);
const { condition, tokenizer } = bundle.manifest;
const { prompts } = await readPrompts(await readFile(file), {
  format: promptFormatOf(file)!,
  limits: LIMITS,
});
const { tokenize } = await openTokenizer(join(directory, tokenizer.file), condition);
const device = { provider: 'cpu', name: 'cpu', threads: availableThreads() } as const;
const encoder = await openEncoder(bundle, device, { tokenBudget: TOKEN_BUDGET });
const makeConditions = createConditionMaker({ bundle, encoder, tokenize, cache: createByteLru(0) });
const embeddings = await makeConditions(prompts, {
  signal: new AbortController().signal,
  turn: async () => {},
  onProgress: () => {},
});
const ids = Float32Array.from(prompts.flatMap((prompt) => [...tokenize(prompt).ids]));
await pipeline(
  writeSafetensors(
    [
      { name: 'condition', shape: [prompts.length, condition.tokens, condition.width] },
      { name: 'ids', shape: [prompts.length, condition.tokens] },
    ],
    [embeddings.condition(prompts), ids],
    { dtype: 'f32' },
  ),
  createWriteStream(out),
);

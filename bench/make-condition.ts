/** Writes the condition of a bundle's prompts as raw float32, in a process of its own so that its memory goes with it. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createByteLru } from '../src/base/lru.ts';
import { createConditionMaker } from '../src/inference/conditions.ts';
import { openEncoder } from '../src/inference/encoder.ts';
import { openTokenizer } from '../src/inference/tokenizer.ts';
import type { Bundle } from '../src/models/bundle.ts';

/** What its parent sends it, once. */
export type ConditionRequest = {
  readonly bundle: Bundle;
  readonly prompts: readonly string[];
  readonly threads: number;
  readonly tokenBudget: number;
  readonly out: string;
};

const [request] = (await once(process, 'message')) as [ConditionRequest];
const { bundle, prompts, threads, tokenBudget, out } = request;
const { condition, tokenizer } = bundle.manifest;
const { tokenize } = await openTokenizer(join(bundle.directory, tokenizer.file), condition);
const makeConditions = createConditionMaker({
  bundle,
  encoder: await openEncoder(bundle, { provider: 'cpu', name: 'cpu', threads }, { tokenBudget }),
  tokenize,
  cache: createByteLru(0),
});
const embeddings = await makeConditions(prompts, {
  signal: new AbortController().signal,
  turn: async () => {},
  onProgress: () => {},
});
await writeFile(out, embeddings.condition(prompts));
process.disconnect();

import { join } from 'node:path';
import type { Bundle } from '../models/bundle.ts';
import { openEncoder } from './encoder.ts';
import { openPooledEncoder } from './pooled-encoder.ts';
import { openTokenizer } from './tokenizer.ts';

/** Tokens of the largest run: one prompt of most encoders, so that trying takes a second. */
const TOKEN_BUDGET = 512;

/**
 * Loads a bundle's encoder and tokenizer in this very process, on the CPU, as an engine would, and lets go of them: for the
 * importer, whose bundle should not fail where it is served. Errors: `bundle-unloadable` with the file and the reason.
 */
export async function tryEncoder(bundle: Bundle, options: { threads: number }): Promise<void> {
  const { condition, tokenizer } = bundle.manifest;
  const { largestId } = await openTokenizer(join(bundle.directory, tokenizer.file), condition);
  const device = { provider: 'cpu', name: 'cpu', threads: options.threads } as const;
  const open = condition.pooling === 'none' ? openEncoder : openPooledEncoder;
  const encoder = await open(bundle, device, { tokenBudget: TOKEN_BUDGET, largestId });
  await encoder.close();
}

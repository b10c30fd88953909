/**
 * The validation process: scores labelled rows with a base, alone and with an adapter. It is a process of its own, so that a
 * crash of native code ends one validation and nothing else.
 */
import '../base/node-20.ts';
import { readFile } from 'node:fs/promises';
import { toLoradropError } from '../base/errors.ts';
import { drawWithoutReplacement, seededRandom } from '../base/random.ts';
import { type BaseModel, openBaseFile, type TokenRow } from './base-model.ts';
import { parseChatRows } from './chat-rows.ts';
import { evaluationErrors } from './errors.ts';
import type { Row } from './rows.ts';
import type { ValidationAnswer, ValidationRequest } from './validation-protocol.ts';

// A terminal's Ctrl-C reaches the whole process group; when to end is the decision of who asked.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit());
process.once('message', async (request: ValidationRequest) => {
  const answer = await validate(request).catch((error: unknown): ValidationAnswer => {
    const { code, title, message, retryable } = toLoradropError(error);
    return { failure: { code, title, message, retryable } };
  });
  process.send!(answer, () => process.disconnect());
});

async function validate(request: ValidationRequest): Promise<ValidationAnswer> {
  const { base, adapter, rows: path, limit, maxRowTokens, seed, threads } = request;
  const labelled = parseChatRows(await readFile(path, 'utf8'));
  const file = await openBaseFile(base, { threads });
  try {
    const model = await file.load();
    const order = drawWithoutReplacement(seededRandom(seed), labelled.length, labelled.length);
    const rows: TokenRow[] = [];
    for (const index of order) {
      if (rows.length === limit) break;
      const row = tokensOf(model, labelled[index]!, maxRowTokens);
      if (row) rows.push(row);
    }
    if (rows.length === 0) throw evaluationErrors.data('Every row is longer than is scored.');
    return {
      labelled: labelled.length,
      base: await model.score(rows),
      adapter: await model.score(rows, { adapter }),
    };
  } finally {
    await file.close();
  }
}

/** The row as tokens, undefined for one that is too long. */
function tokensOf(model: BaseModel, row: Row, maxRowTokens: number): TokenRow | undefined {
  try {
    const [tokens] = model.prepare([row], { withSystem: true });
    const longest = tokens!.prompt.length + Math.max(...tokens!.answers.map(({ length }) => length));
    return longest <= maxRowTokens ? tokens : undefined;
  } catch (error) {
    if (toLoradropError(error).code === evaluationErrors.data.spec.code) return undefined;
    throw error;
  }
}

/** A base model in GGUF that llama.cpp scores rows with. */
import type { Llama, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';
import { LoradropError } from '../base/errors.ts';
import type { BaseFacts } from './base-facts.ts';
import { chatPrompt } from './chat-prompt.ts';
import { evaluationErrors } from './errors.ts';
import { answerLikelihoods, nllAmong, type TokenReader } from './likelihoods.ts';
import { type LlamaLibrary, loadLlamaLibrary, readBaseFile, startLlama } from './llama.ts';
import type { Row } from './rows.ts';
import type { RowScore } from './statistics.ts';

/** A row as tokens: what is read first, and the answers that are scored, each with the token that ends a turn. */
export type TokenRow = {
  readonly prompt: readonly number[];
  readonly answers: readonly (readonly number[])[];
  /** Which of the answers is the response. */
  readonly response: number;
};

/** A loaded base. */
export type BaseModel = {
  readonly facts: BaseFacts;
  /**
   * Rows as tokens, by the base's own chat template; `withSystem` uses the rows' system messages.
   * Errors: `evaluation-data-invalid` where a row is longer than the base's context.
   */
  prepare(rows: readonly Row[], options?: { withSystem?: boolean }): TokenRow[];
  /** Answers a message with the likeliest token each time. Errors: as {@link BaseModel.score}. */
  answer(
    message: string,
    options: { adapter?: string; maxTokens: number; signal?: AbortSignal },
  ): Promise<string>;
  /**
   * Scores rows in order, with a GGUF adapter where one is named. Errors: `base-adapter-refused`, `base-model-unusable`.
   */
  score(
    rows: readonly TokenRow[],
    options?: { adapter?: string; signal?: AbortSignal; onRow?: (done: number) => void },
  ): Promise<RowScore[]>;
};

/** A base whose metadata has been read, on a machine that can run it. */
export type BaseFile = {
  readonly facts: BaseFacts;
  /** Loads the weights. Errors: `base-model-unusable`. */
  load(options?: { signal?: AbortSignal }): Promise<BaseModel>;
  /** Frees all there is, the loaded base too. Idempotent. */
  close(): Promise<void>;
};

/** Most tokens evaluated at once: keeps the workspace small, and is far beyond what two cores gain from. */
const MAX_BATCH_TOKENS = 2048;
/** Most distributions held at once: each is a map of the whole vocabulary, some ten megabytes. */
const MAX_DISTRIBUTIONS = 8;
/** Places of a context that stay free, so that the library never shifts it. */
const SPARE_TOKENS = 8;

/**
 * Reads what a GGUF file says about its model. llama.cpp is one in a process: close a file before the next is opened. Errors: `base-model-unusable` for anything that is not a GGUF chat model,
 * `base-runtime-missing`; the system's own errors when the file cannot be opened.
 */
export async function openBaseFile(path: string, { threads }: { threads: number }): Promise<BaseFile> {
  const facts = await readBaseFile(path);
  const library = await loadLlamaLibrary();
  const llama = await startLlama(library, threads);
  let closing: Promise<void> | undefined;
  return {
    facts,
    load: (options) => load(library, llama, path, facts, { threads, ...options }),
    close() {
      closing ??= llama.dispose();
      return closing;
    },
  };
}

async function load(
  library: LlamaLibrary,
  llama: Llama,
  path: string,
  facts: BaseFacts,
  { threads, signal }: { threads: number; signal?: AbortSignal },
): Promise<BaseModel> {
  const model = await llama
    .loadModel({ modelPath: path, ...(signal && { loadSignal: signal }) })
    .catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw refused(library, cause, 'llama.cpp does not load it: the file may be damaged or too new.');
    });
  return baseModel(library, model, facts, threads);
}

function refused(library: LlamaLibrary, cause: unknown, otherwise: string) {
  if (cause instanceof LoradropError) return cause;
  return evaluationErrors.base(
    cause instanceof library.InsufficientMemoryError
      ? 'It needs more memory than this machine has left.'
      : otherwise,
    { cause },
  );
}

function baseModel(library: LlamaLibrary, model: LlamaModel, facts: BaseFacts, threads: number): BaseModel {
  const render = chatPrompt(facts);
  const end = endOfTurn(model, render([...PROBE], { answer: false }));
  const tokensOf = (row: Row, withSystem: boolean, index: number): TokenRow => {
    const messages = [
      ...(withSystem && row.system !== undefined ? [{ role: 'system', content: row.system } as const] : []),
      { role: 'user', content: row.prompt } as const,
    ];
    const prompt = model.tokenize(render(messages, { answer: true }), true);
    const choices = row.choices ?? [row.response];
    const answers = choices.map((choice) => [...model.tokenize(choice, false, 'trimLeadingSpace'), end]);
    const longest = prompt.length + Math.max(...answers.map(({ length }) => length));
    if (longest > facts.contextTokens - SPARE_TOKENS) {
      throw evaluationErrors.data(
        `A row has ${longest} tokens, and the base's context takes ${facts.contextTokens}.`,
        { fields: [{ pointer: `/${index}`, message: `Row ${index + 1} of those scored is too long.` }] },
      );
    }
    return { prompt, answers, response: choices.indexOf(row.response) };
  };

  const contextOf = (tokens: number, { adapter, signal }: { adapter?: string; signal?: AbortSignal }) =>
    model
      .createContext({
        sequences: 1,
        // On a CPU it is no faster, and keeps sums in half precision.
        flashAttention: false,
        contextSize: tokens + SPARE_TOKENS,
        batchSize: Math.min(tokens, MAX_BATCH_TOKENS),
        threads,
        ...(adapter !== undefined && { lora: adapter }),
        ...(signal && { createSignal: signal }),
      })
      .catch((cause: unknown) => {
        signal?.throwIfAborted();
        if (adapter === undefined || cause instanceof library.InsufficientMemoryError) {
          throw refused(library, cause, 'llama.cpp makes no context for it.');
        }
        throw evaluationErrors.adapter('llama.cpp does not load the adapter onto this base.', { cause });
      });

  const score: BaseModel['score'] = async (rows, { onRow, ...options } = {}) => {
    const longest = Math.max(
      1,
      ...rows.map(({ prompt, answers }) => prompt.length + Math.max(...answers.map(({ length }) => length))),
    );
    const context = await contextOf(longest, options);
    try {
      const reader = readerOf(context.getSequence());
      const scores: RowScore[] = [];
      for (const row of rows) {
        options.signal?.throwIfAborted();
        scores.push(scoreOf(row, await answerLikelihoods(reader, row.prompt, row.answers)));
        onRow?.(scores.length);
      }
      return scores;
    } finally {
      await context.dispose();
    }
  };

  const answer: BaseModel['answer'] = async (message, { maxTokens, ...options }) => {
    const prompt = model.tokenize(render([{ role: 'user', content: message }], { answer: true }), true);
    const context = await contextOf(prompt.length + maxTokens, options);
    try {
      const tokens: Token[] = [];
      for await (const token of context.getSequence().evaluate(prompt, { temperature: 0 })) {
        options.signal?.throwIfAborted();
        if (token === end || model.isEogToken(token) || tokens.push(token) === maxTokens) break;
      }
      return model.detokenize(tokens).trim();
    } finally {
      await context.dispose();
    }
  };

  return {
    facts,
    answer,
    prepare: (rows, { withSystem = false } = {}) =>
      rows.map((row, index) => tokensOf(row, withSystem, index)),
    score,
  };
}

/** A chat whose answer is easily found in what a template makes of it. */
const PROBE = [
  { role: 'user', content: 'question' },
  { role: 'assistant', content: 'xyzzy' },
] as const;

/**
 * The token a turn ends with: the first one the template puts after an answer. What models call their end-of-turn token is
 * not always it. Where the template puts text there, the token that ends a generation.
 */
function endOfTurn(model: LlamaModel, chat: string): Token {
  const [, answer] = PROBE;
  const [first] = model.tokenize(chat.slice(chat.lastIndexOf(answer.content) + answer.content.length), true);
  if (first !== undefined && model.isEogToken(first)) return first;
  const end = model.tokens.eos ?? model.tokens.eot;
  if (end === null) throw evaluationErrors.base('Its vocabulary has no token that ends an answer.');
  return end;
}

function scoreOf({ answers, response }: TokenRow, likelihoods: readonly number[]): RowScore {
  const own = likelihoods[response]!;
  return {
    tokens: answers[response]!.length,
    nll: -own,
    // A tie is not an answer.
    ...(answers.length > 1 && {
      correct: likelihoods.every((other, index) => index === response || other < own) ? 1 : 0,
      choices: { count: answers.length, nll: nllAmong(likelihoods, response) },
    }),
  };
}

function readerOf(sequence: LlamaContextSequence): TokenReader {
  return {
    get seen() {
      return sequence.contextTokens;
    },
    async keep(length) {
      const { nextTokenIndex } = sequence;
      if (length < nextTokenIndex) {
        await sequence.eraseContextTokenRanges([{ start: length, end: nextTokenIndex }]);
      }
    },
    async read(tokens, wanted, onDistribution) {
      for (let start = 0; start < tokens.length; ) {
        let end = start;
        for (let held = 0; end < tokens.length && held < MAX_DISTRIBUTIONS; end++) {
          if (wanted.has(end)) held += 1;
        }
        const outcomes = await sequence.controlledEvaluate(
          tokens
            .slice(start, end)
            .map((token, place) =>
              wanted.has(start + place)
                ? [token as Token, { generateNext: { probabilities: true } }]
                : (token as Token),
            ),
        );
        for (const [place, outcome] of outcomes.entries()) {
          if (outcome?.next.probabilities) onDistribution(start + place, outcome.next.probabilities);
        }
        start = end;
      }
    },
  };
}

/**
 * The chat process: one base model in llama.cpp, asked with and without adapters. It is a process of its own, so that a
 * crash of native code ends an answer and nothing else.
 */
import '../base/node-20.ts';
import type { Llama, LlamaModel, Token } from 'node-llama-cpp';
import { LoradropError } from '../base/errors.ts';
import { type ChatPrompt, chatPrompt } from '../evaluation/chat-prompt.ts';
import { evaluationErrors } from '../evaluation/errors.ts';
import { type LlamaLibrary, loadLlamaLibrary, readBaseFile, startLlama } from '../evaluation/llama.ts';
import { chatErrors } from './errors.ts';
import { grammarOf } from './grammar.ts';
import type { Failure, FromChat, ToChat } from './protocol.ts';
import type { AnswerFacts, ChatQuestion } from './question.ts';
import { createStopTexts } from './stop-texts.ts';

/** Places of a context that stay free, so that the library never shifts it. */
const SPARE_TOKENS = 8;
/** Most tokens read at once: keeps the workspace small. */
const MAX_BATCH_TOKENS = 512;

type Open = {
  readonly library: LlamaLibrary;
  readonly llama: Llama;
  readonly model: LlamaModel;
  readonly render: ChatPrompt;
  readonly contextTokens: number;
  readonly threads: number;
};

let opened: Open | undefined;
const cancels = new Map<number, AbortController>();

process.on('message', (message: ToChat) => {
  if (message.type === 'open') void open(message);
  else if (message.type === 'ask') void answer(message);
  else cancels.get(message.id)?.abort();
});
process.on('disconnect', () => process.exit());
// A terminal's Ctrl-C reaches the whole process group; when to end is the service's decision.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});

function send(message: FromChat): void {
  // A lost channel ends this process anyway.
  process.send!(message, undefined, {}, () => {});
}

async function open({ path, threads, contextTokens }: Extract<ToChat, { type: 'open' }>): Promise<void> {
  try {
    const facts = await readBaseFile(path);
    const library = await loadLlamaLibrary();
    const llama = await startLlama(library, threads);
    const model = await llama.loadModel({ modelPath: path }).catch((cause: unknown) => {
      throw evaluationErrors.base(
        cause instanceof library.InsufficientMemoryError
          ? 'It needs more memory than this machine has left.'
          : 'llama.cpp does not load it: the file may be damaged or too new.',
        { cause },
      );
    });
    const most = Math.min(contextTokens, facts.contextTokens);
    opened = { library, llama, model, render: chatPrompt(facts), contextTokens: most, threads };
    send({ type: 'opened' });
  } catch (error) {
    send({ type: 'refused', failure: tell(error) });
  }
}

async function answer({ id, question, adapter }: Extract<ToChat, { type: 'ask' }>): Promise<void> {
  const cancel = new AbortController();
  cancels.set(id, cancel);
  try {
    const facts = await generate(opened!, question, {
      adapter,
      signal: cancel.signal,
      onText: (text) => send({ type: 'text', id, text }),
    });
    send({ type: 'done', id, facts });
  } catch (error) {
    send({ type: 'failed', id, failure: tell(error) });
  } finally {
    cancels.delete(id);
  }
}

async function generate(
  { library, llama, model, render, contextTokens, threads }: Open,
  question: ChatQuestion,
  {
    adapter,
    signal,
    onText,
  }: { adapter: string | undefined; signal: AbortSignal; onText: (text: string) => void },
): Promise<AnswerFacts> {
  const startedAt = performance.now();
  const { messages, sampling, stop, form } = question;
  const prompt = model.tokenize(renderMessages(render, messages), true);
  const room = contextTokens - prompt.length - SPARE_TOKENS;
  if (room < 1) {
    throw chatErrors.tooLong(
      `It has ${prompt.length} tokens, and the context takes ${contextTokens} with the answer.`,
    );
  }
  const maxTokens = Math.min(question.maxTokens, room);
  const grammar = form && (await grammarOf(llama, form));
  // A context for each answer: making one takes 10 to 40 ms, and the base stays loaded whatever the adapter is.
  const context = await model
    .createContext({
      sequences: 1,
      flashAttention: false,
      contextSize: prompt.length + maxTokens + SPARE_TOKENS,
      batchSize: Math.min(prompt.length, MAX_BATCH_TOKENS),
      threads,
      createSignal: signal,
      ...(adapter !== undefined && { lora: adapter }),
    })
    .catch((cause: unknown) => {
      signal.throwIfAborted();
      if (cause instanceof library.InsufficientMemoryError) {
        throw evaluationErrors.base('The context needs more memory than this machine has left.', { cause });
      }
      if (adapter === undefined) throw cause;
      throw evaluationErrors.adapter('llama.cpp does not load the adapter onto this base.', { cause });
    });
  try {
    const preparedAt = performance.now();
    const texts = createTokenText(model, prompt);
    const stops = createStopTexts(stop);
    const { temperature, topP, seed, frequencyPenalty, presencePenalty } = sampling;
    const made: Token[] = [];
    let firstAt: number | undefined;
    const isJson = form !== undefined && form.kind !== 'choice';
    let whole = '';
    let finish: AnswerFacts['finish'] = 'stop';
    const tokens = context.getSequence().evaluate(prompt, {
      temperature,
      topP,
      topK: 0,
      minP: 0,
      seed,
      ...(grammar && {
        grammarEvaluationState: new library.LlamaGrammarEvaluationState({ model, grammar }),
      }),
      ...((frequencyPenalty !== 0 || presencePenalty !== 0) && {
        repeatPenalty: {
          punishTokens: () => made.slice(-MAX_BATCH_TOKENS),
          penalty: 1,
          frequencyPenalty,
          presencePenalty,
        },
      }),
    });
    for await (const token of tokens) {
      signal.throwIfAborted();
      firstAt ??= performance.now();
      made.push(token);
      const { text, stopped } = stops.take(texts.take(token));
      if (text !== '') onText(text);
      if (stopped) break;
      // The grammar of JSON goes on with white space, which small models are fond of.
      whole += text;
      if (isJson && isWhole(whole)) break;
      if (made.length >= maxTokens) {
        finish = 'length';
        break;
      }
    }
    const rest = stops.rest();
    if (rest !== '') onText(rest);
    const endedAt = performance.now();
    return {
      finish,
      promptTokens: prompt.length,
      completionTokens: made.length,
      prepareMs: preparedAt - startedAt,
      promptMs: (firstAt ?? endedAt) - preparedAt,
      completionMs: endedAt - (firstAt ?? endedAt),
    };
  } finally {
    await context.dispose();
  }
}

/** Roles that a refusal names; conversations may have hundreds. */
const MAX_NAMED_ROLES = 6;

/** The conversation in the base's own form. Errors: `chat-messages-refused`; `base-model-unusable` where nothing can be asked. */
function renderMessages(render: ChatPrompt, messages: ChatQuestion['messages']): string {
  try {
    return render(messages, { answer: true });
  } catch (cause) {
    // A template that does not take a single question either is to blame itself.
    render([{ role: 'user', content: 'A question?' }], { answer: true });
    const roles = messages.slice(0, MAX_NAMED_ROLES).map(({ role }) => role);
    const more = messages.length > roles.length ? ', …' : '';
    throw chatErrors.messages(
      `Its chat template refuses messages of these roles in this order: ${roles.join(', ')}${more}.`,
      { cause },
    );
  }
}

/** True for a JSON object or array with nothing missing, and for other values that white space follows. */
function isWhole(text: string): boolean {
  if (!/[}\]]\s*$|\S\s*\n\s*$/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Tokens → text: a character of several tokens comes out with the last of them. */
function createTokenText(model: LlamaModel, before: readonly Token[]) {
  let last = before.slice(-4);
  let pending: Token[] = [];
  return {
    take(token: Token): string {
      pending.push(token);
      const text = model.detokenize(pending, false, last);
      // Four bytes make the longest character; what is broken after that is broken.
      if (text.endsWith('\ufffd') && pending.length < 4) return '';
      last = [...last, ...pending].slice(-4);
      pending = [];
      return text;
    },
  };
}

/** The failure as it is told, and where it happened. */
function tell(error: unknown): Failure {
  if (error instanceof LoradropError) return { code: error.code, detail: error.message };
  if (error instanceof Error && error.name === 'AbortError') {
    return { code: chatErrors.failed.spec.code, detail: 'The question was taken back.' };
  }
  return {
    code: chatErrors.failed.spec.code,
    detail: 'llama.cpp failed; the log says where.',
    where: whereOf(error),
  };
}

function whereOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { name, message, stack = '' } = error;
  return `${name}${stack.slice(stack.indexOf(message) + message.length)}`;
}

/** `/v1/chat/completions`: trying adapters on their base, in OpenAI's shape. */
import { newId } from '../../base/ids.ts';
import { chatErrors } from '../../chat/errors.ts';
import type { AnswerFacts, AnswerPart } from '../../chat/question.ts';
import { connectionSignal } from '../await-job.ts';
import { chatQuestion, chatTarget } from '../chat-question.ts';
import { ChatCompletion, ChatRequest } from '../chat-schemas.ts';
import { openaiError } from '../openai-error.ts';
import { openaiResponses } from '../openai-responses.ts';
import type { ProblemCode } from '../problem.ts';
import { problemOfError } from '../problem.ts';
import { ACCESS_FAILURES, UNSAFE_FAILURES } from '../problem-responses.ts';
import { refTo } from '../schemas.ts';
import { EVENT_STREAM, sendStream } from '../send-events.ts';
import type { App, HttpServices } from '../services.ts';

const QUESTION_FAILURES: readonly ProblemCode[] = [
  ...ACCESS_FAILURES,
  ...UNSAFE_FAILURES,
  'field-unknown',
  'options-conflict',
  'chat-unavailable',
  'chat-model-not-found',
  'chat-adapter-unfit',
  'chat-too-long',
  'chat-messages-refused',
  'chat-schema-unsupported',
  'chat-busy',
  'chat-tenant-busy',
  'chat-lost',
  'chat-failed',
  'base-model-unusable',
  'base-runtime-missing',
  'base-adapter-refused',
  'gguf-unsupported',
  'gguf-heads-unknown',
  'adapter-mismatch',
  'safetensors-invalid',
  'store-unavailable',
];

/** Registers the routes. `closing` ends answers when the application closes. */
export function registerChat(app: App, services: HttpServices, closing: AbortSignal): void {
  const { now = Date.now, random } = services;
  const chat = services.chat ?? {
    bases: async () => [],
    ask: () => {
      throw chatErrors.unavailable('This process has no bases.');
    },
  };

  app.post(
    '/v1/chat/completions',
    {
      config: { produces: ['application/json', EVENT_STREAM], access: 'generate' },
      schema: {
        tags: ['chat'],
        operationId: 'createChatCompletion',
        summary: 'Ask a base, alone or with an adapter',
        description:
          'OpenAI’s shape, streamed with `stream`. A bench to try adapters on: few questions at a time, 429 beyond. `response_format` and `structured_outputs.choice` hold the answer to a form by llama.cpp’s grammar. Leaving ends the answer.',
        body: ChatRequest,
        response: {
          200: {
            description: 'The answer; with `stream`, its pieces as `data:` events and `[DONE]` at the end.',
            content: {
              'application/json': { schema: refTo(ChatCompletion) },
              [EVENT_STREAM]: { schema: { type: 'string' } },
            },
          },
          ...openaiResponses(...QUESTION_FAILURES),
        },
      },
    },
    async ({ body, caller, id: requestId, log }, reply) => {
      const question = chatQuestion(body);
      const { base, adapter } = await chatTarget(
        { ...services, chat },
        { model: body.model, tenant: caller.tenant },
      );
      const signal = connectionSignal(reply, closing);
      const parts = chat.ask(base, question, { tenant: caller.tenant, adapter, signal });
      const shape: Shape = {
        id: newId('chatcmpl', random),
        created: Math.floor(now() / 1000),
        model: body.model,
      };
      if (!body.stream) {
        let content = '';
        for await (const part of parts) {
          if ('text' in part) content += part.text;
          else return reply.send(completion(shape, content, part.facts));
        }
        throw chatErrors.failed('The answer has no end.');
      }
      // The first part first: a failure before it is an answer with a status of its own.
      const first = await parts.next();
      const usage = body.stream_options?.include_usage ?? false;
      const events = chunks(shape, first, parts, {
        usage,
        requestId,
        onFailure: (error) => log.warn({ err: error }, 'answer ended early'),
      });
      return sendStream(reply, events);
    },
  );
}

type Shape = { readonly id: string; readonly created: number; readonly model: string };

function completion(shape: Shape, content: string, facts: AnswerFacts): ChatCompletion {
  return {
    ...shape,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: facts.finish }],
    ...figures(facts),
  };
}

function figures(facts: AnswerFacts): Pick<ChatCompletion, 'usage' | 'timings'> {
  const { promptTokens, completionTokens, prepareMs, promptMs, completionMs } = facts;
  const round = (ms: number) => Math.round(ms * 10) / 10;
  const perSecond = completionMs > 0 ? ((completionTokens - 1) / completionMs) * 1000 : 0;
  return {
    usage: {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
    },
    timings: {
      prepare_ms: round(prepareMs),
      prompt_n: promptTokens,
      prompt_ms: round(promptMs),
      predicted_n: completionTokens,
      predicted_ms: round(completionMs),
      predicted_per_second: round(Math.max(0, perSecond)),
    },
  };
}

/** The answer as OpenAI's chunks, each a server-sent event. */
async function* chunks(
  shape: Shape,
  first: IteratorResult<AnswerPart, void>,
  rest: AsyncGenerator<AnswerPart, void, void>,
  { usage, requestId, onFailure }: { usage: boolean; requestId: string; onFailure: (error: unknown) => void },
): AsyncGenerator<string, void, void> {
  const chunk = (delta: object, finish: string | null, more: object = {}) =>
    event({
      ...shape,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason: finish }],
      ...more,
    });
  try {
    yield chunk({ role: 'assistant', content: '' }, null);
    for (let step = first; !step.done; step = await rest.next()) {
      const part = step.value;
      if ('text' in part) yield chunk({ content: part.text }, null);
      else {
        const { usage: counts, timings } = figures(part.facts);
        yield chunk({}, part.facts.finish, { timings });
        if (usage) yield event({ ...shape, object: 'chat.completion.chunk', choices: [], usage: counts });
      }
    }
    yield 'data: [DONE]\n\n';
  } catch (error) {
    onFailure(error);
    // The status is out; clients look for this field of an event.
    yield event(openaiError(problemOfError(error, requestId).problem));
  } finally {
    await rest.return();
  }
}

const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`;

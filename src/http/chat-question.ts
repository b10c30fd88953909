/** A question in OpenAI's shape → what the chat room is asked, and of which base with which adapter. */
import { randomBytes } from 'node:crypto';
import { STORED_GGUF_DTYPE } from '../adapter/convert-gguf.ts';
import { isId, isName } from '../base/ids.ts';
import type { ChatAdapter } from '../chat/adapter-files.ts';
import type { ChatBase } from '../chat/bases.ts';
import { chatErrors } from '../chat/errors.ts';
import { supportedSchema } from '../chat/grammar.ts';
import type { AnswerForm, ChatMessage, ChatQuestion } from '../chat/question.ts';
import type { AdapterInfo } from '../jobs/adapter-info.ts';
import type { StoredAdapter, TenantStore } from '../store/store.ts';
import { type ChatRequest, DEFAULT_MAX_TOKENS } from './chat-schemas.ts';
import { httpErrors } from './errors.ts';
import { findAdapter } from './find-adapter.ts';
import { openAdapterGguf } from './send-gguf.ts';
import type { HttpServices } from './services.ts';

/** The question of a request. Errors: `options-conflict`, `chat-schema-unsupported`. */
export function chatQuestion(request: ChatRequest): ChatQuestion {
  const { messages, stop, response_format: format, structured_outputs: outputs } = request;
  if (outputs && format && format.type !== 'text') {
    throw httpErrors.optionsConflict('`response_format` and `structured_outputs` exclude each other.', {
      fields: [{ pointer: '/structured_outputs', message: 'is one form too many' }],
    });
  }
  const form = answerForm(request);
  return {
    messages: messages.map(
      ({ role, content }): ChatMessage => ({
        role: role === 'developer' ? 'system' : role,
        content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
      }),
    ),
    sampling: {
      temperature: request.temperature ?? 1,
      topP: request.top_p ?? 1,
      seed: request.seed ?? randomBytes(4).readUInt32LE(),
      frequencyPenalty: request.frequency_penalty ?? 0,
      presencePenalty: request.presence_penalty ?? 0,
    },
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? DEFAULT_MAX_TOKENS,
    stop: stop == null ? [] : [stop].flat(),
    ...(form && { form }),
  };
}

function answerForm({
  response_format: format,
  structured_outputs: outputs,
}: ChatRequest): AnswerForm | undefined {
  if (outputs) return { kind: 'choice', choices: writable(outputs.choice) };
  if (format?.type === 'json_object') return { kind: 'json' };
  if (format?.type === 'json_schema') {
    return { kind: 'schema', schema: supportedSchema(format.json_schema.schema) };
  }
  return undefined;
}

/** The texts, none of which has a character that no model can write: NUL, or half of a surrogate pair. */
function writable(choices: readonly string[]): readonly string[] {
  const index = choices.findIndex((text) => text.includes('\0') || /\p{Surrogate}/u.test(text));
  if (index < 0) return choices;
  throw httpErrors.requestInvalid('No model can write this text.', {
    fields: [
      { pointer: `/structured_outputs/choice/${index}`, message: 'has a character that no token stands for' },
    ],
  });
}

/** What {@link chatTarget} looks things up in. */
type Sources = Pick<HttpServices, 'store' | 'models' | 'now'> & {
  readonly chat: NonNullable<HttpServices['chat']>;
};

/**
 * The base and the adapter that `model` names (`base`, `base+adapter`, or `adapter` alone for its base); an adapter is looked for by
 * name, then by id, among the tenant's own.
 * Errors: `chat-unavailable`, `chat-model-not-found`, `chat-adapter-unfit`, those of conversions to GGUF and the store.
 */
export async function chatTarget(
  { chat, store, models, now = Date.now }: Sources,
  { model, tenant }: { model: string; tenant: string },
): Promise<{ readonly base: ChatBase; readonly adapter?: ChatAdapter }> {
  const bases = await chat.bases();
  if (bases.length === 0) {
    throw chatErrors.unavailable(
      'No GGUF file of a base is there. The operator gets one with `loradrop bases pull hf://owner/name/file.gguf`.',
    );
  }
  const exact = bases.find(({ id }) => id === model);
  if (exact) return { base: exact };
  const plus = model.lastIndexOf('+');
  const named = bases.find(({ id }) => id === model.slice(0, Math.max(0, plus)));
  const own = store.of(tenant);
  const adapter = await findByName(own, named ? model.slice(plus + 1) : model, now);
  if (!adapter) {
    throw named
      ? chatErrors.modelNotFound(
          'You have no name and no adapter that is called so.',
          atModel('names no adapter'),
        )
      : chatErrors.modelNotFound(
          `There is ${bases.map(({ id }) => id).join(', ')}.`,
          atModel('is not there'),
        );
  }
  const { baseModel } = adapter.info as AdapterInfo;
  if (named && baseModel !== named.id)
    throw chatErrors.adapterUnfit(`It is for ${baseModel}.`, atModel('does not fit the base'));
  const base = named ?? bases.find(({ id }) => id === baseModel);
  if (!base) {
    throw chatErrors.modelNotFound(
      `The adapter is for ${baseModel}, of which no GGUF file is here.`,
      atModel('has no base here'),
    );
  }
  const gguf = await openAdapterGguf({ store: own, models }, adapter, STORED_GGUF_DTYPE);
  return { base, adapter: { key: gguf.key, read: (options) => gguf.read(options) } };
}

/** The adapter that a name stands for, else the one with that id. */
async function findByName(
  own: Pick<TenantStore, 'find' | 'names'>,
  name: string,
  now: () => number,
): Promise<StoredAdapter | undefined> {
  const named = isName(name) ? await own.names.find(name) : undefined;
  const id = named?.current.adapter ?? name;
  return isId(id) ? await findAdapter(own, id, now).catch(ignoreMissing) : undefined;
}

function atModel(message: string) {
  return { fields: [{ pointer: '/model', message }] };
}

function ignoreMissing(error: { readonly code?: string }): undefined {
  if (error.code !== 'adapter-not-found') throw error;
}

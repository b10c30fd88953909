/** The part of OpenAI's chat API that is served, as schemas. Field names are OpenAI's; `structured_outputs` is vLLM's. */
import { type Static, type TSchema, Type } from 'typebox';
import { MAX_SEED } from '../base/random.ts';
import { refTo } from './schemas.ts';

const closed = { additionalProperties: false } as const;

/** Most messages of a conversation, and characters of one: far more than the contexts of small bases take. */
const MAX_MESSAGES = 256;
const MAX_MESSAGE_CHARS = 131_072;
/** Most answers to choose among, and characters of one; all of them become a grammar. */
const MAX_CHOICES = 256;
const MAX_CHOICE_CHARS = 512;
/** Most tokens of an answer where the client names no number. */
export const DEFAULT_MAX_TOKENS = 512;

const TextPart = Type.Object(
  { type: Type.Literal('text'), text: Type.String({ maxLength: MAX_MESSAGE_CHARS }) },
  closed,
);
const Message = Type.Object(
  {
    role: Type.Enum(['system', 'developer', 'user', 'assistant']),
    content: Type.Union([
      Type.String({ maxLength: MAX_MESSAGE_CHARS }),
      Type.Array(TextPart, { minItems: 1, maxItems: 64 }),
    ]),
    name: Type.Optional(Type.String({ maxLength: 64, description: 'Taken and not used.' })),
  },
  closed,
);

const nullable = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));
const Tokens = Type.Integer({ minimum: 1, maximum: 131_072 });
const StopText = Type.String({ minLength: 1, maxLength: 256 });
const Penalty = Type.Number({ minimum: -2, maximum: 2 });

/** The body of a question. */
export const ChatRequest = Type.Object(
  {
    model: Type.String({
      minLength: 1,
      maxLength: 300,
      description:
        'A base, `base+adapter` with the id or name of an adapter of yours, or that id or name alone, as `fine_tuned_model` of a fine-tuning job is.',
    }),
    messages: Type.Array(Message, { minItems: 1, maxItems: MAX_MESSAGES }),
    stream: nullable(Type.Boolean()),
    stream_options: nullable(Type.Object({ include_usage: Type.Optional(Type.Boolean()) }, closed)),
    temperature: nullable(
      Type.Number({ minimum: 0, maximum: 2, description: '1 by default; 0: always the likeliest token.' }),
    ),
    top_p: nullable(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
    seed: nullable(Type.Integer({ minimum: 0, maximum: MAX_SEED })),
    max_tokens: nullable(Tokens),
    max_completion_tokens: nullable(Tokens),
    stop: nullable(Type.Union([StopText, Type.Array(StopText, { maxItems: 4 })])),
    frequency_penalty: nullable(Penalty),
    presence_penalty: nullable(Penalty),
    n: nullable(Type.Literal(1)),
    user: Type.Optional(Type.String({ maxLength: 256, description: 'Taken and not used.' })),
    response_format: Type.Optional(
      Type.Union([
        Type.Object({ type: Type.Literal('text') }, closed),
        Type.Object({ type: Type.Literal('json_object') }, closed),
        Type.Object(
          {
            type: Type.Literal('json_schema'),
            json_schema: Type.Object(
              {
                name: Type.String({ maxLength: 64 }),
                description: Type.Optional(Type.String({ maxLength: 2000 })),
                strict: nullable(Type.Boolean()),
                schema: Type.Object({}, { additionalProperties: true, description: 'JSON Schema.' }),
              },
              closed,
            ),
          },
          closed,
        ),
      ]),
    ),
    structured_outputs: Type.Optional(
      Type.Object(
        {
          choice: Type.Array(Type.String({ minLength: 1, maxLength: MAX_CHOICE_CHARS }), {
            minItems: 1,
            maxItems: MAX_CHOICES,
            description: 'The answer is one of these texts, as with vLLM.',
          }),
        },
        closed,
      ),
    ),
  },
  {
    ...closed,
    examples: [
      {
        model: 'HuggingFaceTB/SmolLM2-135M-Instruct+science-2',
        messages: [{ role: 'user', content: 'Does the moon orbit the Earth?' }],
        temperature: 0,
      },
    ],
  },
);
/** See {@link ChatRequest}. */
export type ChatRequest = Static<typeof ChatRequest>;

const Usage = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  total_tokens: Type.Integer(),
});
const Timings = Type.Object(
  {
    prepare_ms: Type.Number({ description: 'Taking the adapter on and making a context.' }),
    prompt_n: Type.Integer(),
    prompt_ms: Type.Number({ description: 'Until the first token.' }),
    predicted_n: Type.Integer(),
    predicted_ms: Type.Number(),
    predicted_per_second: Type.Number(),
  },
  { description: 'Named as llama.cpp’s server names them.' },
);
const FinishReason = Type.Enum(['stop', 'length']);

/** An answer. */
export const ChatCompletion = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('chat.completion'),
    created: Type.Integer({ description: 'Seconds since the epoch.' }),
    model: Type.String(),
    choices: Type.Array(
      Type.Object({
        index: Type.Integer(),
        message: Type.Object({ role: Type.Literal('assistant'), content: Type.String() }),
        finish_reason: FinishReason,
      }),
    ),
    usage: Usage,
    timings: Timings,
  },
  { $id: 'ChatCompletion', description: 'An answer in OpenAI’s shape.' },
);
/** See {@link ChatCompletion}. */
export type ChatCompletion = Static<typeof ChatCompletion>;

/** A model that can be asked. */
export const ChatModel = Type.Object(
  {
    id: Type.String({ description: 'What `model` of a question names.' }),
    object: Type.Literal('model'),
    created: Type.Integer({ description: 'Seconds since the epoch.' }),
    owned_by: Type.String(),
    parent: Type.Optional(Type.String({ description: 'The base, for one with an adapter.' })),
  },
  { $id: 'ChatModel', description: 'A base, or an adapter on one, in OpenAI’s shape.' },
);
/** See {@link ChatModel}. */
export type ChatModel = Static<typeof ChatModel>;

/** The models that can be asked. */
export const ChatModelList = Type.Object(
  { object: Type.Literal('list'), data: Type.Array(refTo(ChatModel)) },
  {
    $id: 'ChatModelList',
    description: 'Bases, bases with each named adapter, and models of fine-tuning jobs, in OpenAI’s shape.',
  },
);

/** A model that is gone. */
export const ChatModelDeleted = Type.Object(
  { id: Type.String(), object: Type.Literal('model'), deleted: Type.Literal(true) },
  { $id: 'ChatModelDeleted', description: 'The adapter is gone, with its files.' },
);

/** A failure under `/v1/`. */
export const OpenaiErrorDocument = Type.Object(
  {
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: Type.Union([Type.String(), Type.Null()]),
      code: Type.String({ description: 'As in the problems of other addresses.' }),
    }),
  },
  { $id: 'OpenaiError', description: 'A failure in OpenAI’s shape.' },
);

/** Schemas of this file that become components of the OpenAPI document. */
export const CHAT_COMPONENTS: readonly TSchema[] = [
  ChatCompletion,
  ChatModel,
  ChatModelList,
  ChatModelDeleted,
  OpenaiErrorDocument,
];

/** A reference to the shape of failures under `/v1/`. */
export const openaiErrorRef = () => refTo(OpenaiErrorDocument);

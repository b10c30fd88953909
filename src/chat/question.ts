/** What is asked of a base model, and what comes back. */

/** One turn of a conversation. */
export type ChatMessage = { readonly role: 'system' | 'user' | 'assistant'; readonly content: string };

/** What an answer is held to by llama.cpp's grammar. */
export type AnswerForm =
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | { readonly kind: 'json' }
  | { readonly kind: 'schema'; readonly schema: object };

/** How the next token is chosen, in the terms of OpenAI's API. */
export type Sampling = {
  /** 0: always the likeliest token. */
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
};

/** A question. */
export type ChatQuestion = {
  readonly messages: readonly ChatMessage[];
  readonly sampling: Sampling;
  readonly maxTokens: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
  readonly form?: AnswerForm;
};

/** How an answer came about. Times are milliseconds. */
export type AnswerFacts = {
  /** `stop`: the model or a stop text ended it; `length`: it has as many tokens as were allowed. */
  readonly finish: 'stop' | 'length';
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Taking the adapter on, and making room for the conversation. */
  readonly prepareMs: number;
  /** Until the first token. */
  readonly promptMs: number;
  /** From the first token to the last. */
  readonly completionMs: number;
};

/** A piece of an answer, or at its end how it came about. */
export type AnswerPart = { readonly text: string } | { readonly facts: AnswerFacts };

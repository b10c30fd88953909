import { defineErrors } from '../base/errors.ts';

/** Failures of the prompts of a request or file. */
export const promptErrors = defineErrors({
  empty: { code: 'prompts-empty', title: 'A prompt is missing or blank.', retryable: false },
  tooMany: {
    code: 'too-many-prompts',
    title: 'There are more prompts than are taken at once.',
    retryable: false,
  },
  tooFew: {
    code: 'too-few-prompts',
    title: 'There are fewer prompts than the model takes.',
    retryable: false,
  },
  oneDescription: {
    code: 'one-description',
    title: 'The model makes one adapter from one description.',
    retryable: false,
  },
  tooLong: { code: 'prompt-too-long', title: 'A prompt is longer than is taken.', retryable: false },
  invalid: { code: 'prompts-invalid', title: 'The prompts cannot be read.', retryable: false },
  tooLarge: {
    code: 'prompts-too-large',
    title: 'The prompts take more bytes, memory or time than are spent on one request.',
    retryable: false,
  },
  ambiguous: {
    code: 'prompt-field-ambiguous',
    title: 'More than one column can hold the prompt.',
    retryable: false,
  },
  choice: {
    code: 'prompt-field-invalid',
    title: 'The chosen prompt column or template cannot be used.',
    retryable: false,
  },
  withAnswers: {
    code: 'prompts-hold-answers',
    title: 'The column holds whole dialogues, with their answers.',
    retryable: false,
  },
  notUtf8: { code: 'text-not-utf8', title: 'The text is not valid UTF-8.', retryable: false },
});

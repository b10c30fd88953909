import { defineErrors } from '../base/errors.ts';

/** Failures of asking a base model. */
export const chatErrors = defineErrors({
  unavailable: {
    code: 'chat-unavailable',
    title: 'There is no base model to ask.',
    retryable: false,
  },
  modelNotFound: {
    code: 'chat-model-not-found',
    title: 'There is no such model to ask.',
    retryable: false,
  },
  adapterUnfit: {
    code: 'chat-adapter-unfit',
    title: 'The adapter was made for another base.',
    retryable: false,
  },
  tooLong: {
    code: 'chat-too-long',
    title: 'The conversation does not fit into the context.',
    retryable: false,
  },
  messages: {
    code: 'chat-messages-refused',
    title: 'The base does not take these messages.',
    retryable: false,
  },
  schema: {
    code: 'chat-schema-unsupported',
    title: 'The answer cannot be held to this schema.',
    retryable: false,
  },
  busy: { code: 'chat-busy', title: 'Other questions are being answered.', retryable: true },
  tenantBusy: {
    code: 'chat-tenant-busy',
    title: 'Other questions of yours are being answered.',
    retryable: true,
  },
  lost: { code: 'chat-lost', title: 'The process that was answering ended.', retryable: true },
  failed: { code: 'chat-failed', title: 'The question could not be answered.', retryable: false },
});

import { defineErrors } from '../base/errors.ts';

/** Failures of bundles and imports. */
export const modelErrors = defineErrors({
  unknown: { code: 'model-not-found', title: 'There is no such model.', retryable: false },
  invalid: { code: 'bundle-invalid', title: 'The bundle is damaged or not a bundle.', retryable: false },
  schema: {
    code: 'bundle-schema-unknown',
    title: 'The bundle was written for another version.',
    retryable: false,
  },
  checkpoint: { code: 'checkpoint-invalid', title: 'The checkpoint cannot be imported.', retryable: false },
  encoder: { code: 'encoder-invalid', title: 'The encoder cannot be imported.', retryable: false },
  evaluation: { code: 'evaluation-invalid', title: 'The evaluation cannot be used.', retryable: false },
  repository: { code: 'repository-unusable', title: 'The repository cannot be pulled.', retryable: false },
  hubUnreachable: { code: 'hub-unreachable', title: 'The Hub does not answer.', retryable: true },
  hubRefused: { code: 'hub-refused', title: 'The Hub does not give access.', retryable: false },
  hubMissing: { code: 'hub-not-found', title: 'The Hub does not have it.', retryable: false },
  hubAnswer: { code: 'hub-answer-invalid', title: 'The Hub’s answer cannot be used.', retryable: false },
  sourceUnreachable: {
    code: 'source-unreachable',
    title: 'Where the bundle comes from does not answer.',
    retryable: true,
  },
  sourceUnusable: {
    code: 'source-unusable',
    title: 'The bundle cannot be had from there.',
    retryable: false,
  },
  damaged: { code: 'download-damaged', title: 'What was downloaded is damaged.', retryable: true },
  diskFull: { code: 'disk-full', title: 'The disk has no room left.', retryable: true },
});

import type { Evaluation } from '../../src/models/evaluation.ts';

/** Made-up figures of two data sets. */
export const SAMPLE_EVALUATION: Evaluation = {
  protocol: 'Two data sets were held out.\nMeans over 200 items, 95 % bootstrap intervals.',
  rows: [
    { dataset: 'sums', metric: 'answer-nll', subject: 'base', value: 2.5, low: 2.25, high: 2.75, items: 200 },
    {
      dataset: 'sums',
      metric: 'answer-nll',
      subject: 'generated',
      value: 2,
      low: 1.875,
      high: 2.125,
      items: 200,
      draws: 5,
      deviation: 0.0625,
    },
    { dataset: 'sums', metric: 'answer-nll', subject: 'own-adapter', value: 1 },
    { dataset: 'sums', metric: 'accuracy', subject: 'generated', value: 0.5 },
    { dataset: 'rhymes', metric: 'accuracy', subject: 'control-shuffled-words', value: 1, low: 1, high: 1 },
    { dataset: 'sums', metric: 'answer-nll', subject: 'uniform-guess', value: 1.25 },
  ],
};

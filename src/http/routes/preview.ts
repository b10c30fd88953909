/** `POST /prompts/preview`: what of prompts would be used, before anything is made of them. */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { checkPrompts } from '../../prompts/check-prompts.ts';
import { checkOneDescription } from '../../prompts/draw-for-model.ts';
import { httpErrors } from '../errors.ts';
import { checkCount, checkDescribed, chooseBundle } from '../generate-payload.ts';
import { checkJobOptions } from '../job-payload.ts';
import { ACCESS_FAILURES, PROMPT_FAILURES, problemResponses, UNSAFE_FAILURES } from '../problem-responses.ts';
import { FORM_TYPE, PROMPT_TYPES } from '../prompt-types.ts';
import { createGenerateReader } from '../read-generate.ts';
import { generateForm, generateQuery, generateRequest, PromptPreview, refTo } from '../schemas.ts';
import type { App, HttpServices } from '../services.ts';

/** Prompts that are shown one by one; more than any encoder uses for one adapter. */
const MAX_SHOWN = 200;
/** Characters of a prompt that are sent back. */
const MAX_SHOWN_CHARS = 300;

/** Registers the route. */
export function registerPreview(app: App, { models, limits, countTokens }: HttpServices): void {
  const requests = createGenerateReader(limits);
  app.post(
    '/prompts/preview',
    {
      config: { produces: ['application/json'], access: 'read' },
      preValidation: async (request: FastifyRequest) => {
        if (request.body === undefined) throw httpErrors.jsonInvalid('The body is empty.');
        await requests.preValidation(request);
      },
      schema: {
        tags: ['generate'],
        operationId: 'previewPrompts',
        summary: 'What of prompts would be used',
        description:
          'Takes what `POST /generate` takes, and makes nothing: how many prompts there are, which column they were read from, how many tokens of each the encoder keeps.',
        querystring: generateQuery(limits),
        body: {
          content: {
            'application/json': { schema: generateRequest(limits) },
            ...Object.fromEntries(Object.keys(PROMPT_TYPES).map((type) => [type, { schema: Type.String() }])),
            [FORM_TYPE]: { schema: generateForm(limits) },
          },
        },
        response: {
          200: refTo(PromptPreview),
          ...problemResponses(
            ...ACCESS_FAILURES,
            ...UNSAFE_FAILURES,
            'field-unknown',
            'options-conflict',
            'count-too-large',
            'deadline-too-long',
            'retention-too-long',
            'metadata-too-large',
            'destination-invalid',
            'webhook-events-invalid',
            ...PROMPT_FAILURES,
            'model-not-chosen',
            'model-not-found',
          ),
        },
      },
    },
    async (request) => {
      const { options, reading, described } = await requests.read(request);
      const { prompts, source, warnings } = reading;
      checkCount(options, limits);
      checkJobOptions(options, limits);
      checkPrompts(prompts, limits, (index) => (described ? '/description' : `/prompts/${index}`));
      const bundle = chooseBundle(options.model, models);
      const { condition, family } = bundle.manifest;
      if (described) checkDescribed(family);
      if (family === 't2l') {
        const { count = 1, strictPrompts: strict = false } = options;
        checkOneDescription({ given: prompts, count, strict });
      }
      const shown = prompts.slice(0, MAX_SHOWN);
      const tokens = await countTokens?.(bundle, shown);
      return {
        model: bundle.manifest.id,
        count: prompts.length,
        distinct: new Set(prompts).size,
        wanted: condition.prompts,
        tokenLimit: condition.tokens,
        source,
        warnings: [...warnings],
        prompts: shown.map((text, index) => ({
          text: text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text,
          chars: text.length,
          ...(tokens && { tokens: tokens[index]!.tokens, kept: tokens[index]!.kept }),
        })),
      };
    },
  );
}

/** Requests with prompts → their options and the prompts, in every form in which they come. */
import type { FastifyRequest } from 'fastify';
import { choosePrompts, type PromptChoice } from '../prompts/choose-column.ts';
import { type PromptReading, sourceOf } from '../prompts/read-unpacked.ts';
import { httpErrors } from './errors.ts';
import type { GenerateOptionsWithMetadata } from './generate-payload.ts';
import { refuseOversized } from './job-payload.ts';
import { FORM_TYPE, PROMPT_TYPES } from './prompt-types.ts';
import { readFiles } from './read-files.ts';
import { type FormFile, readForm } from './read-form.ts';
import { type GenerateOptions, type GenerateRequest, generateForm } from './schemas.ts';
import type { HttpLimits } from './services.ts';

const JSON_TYPE = 'application/json';

/** What a request with prompts holds. */
export type GenerateReading = {
  readonly options: GenerateOptionsWithMetadata;
  readonly reading: PromptReading;
  /** The one text came as a `description`. */
  readonly described?: true;
};

/** Reads requests of one route. */
export type GenerateReader = {
  /** Goes before the check against the schema: forms become fields, and what is too large is refused. */
  preValidation(request: FastifyRequest): Promise<void>;
  /** Errors: those of the prompts. */
  read(request: FastifyRequest): Promise<GenerateReading>;
};

/** Makes a reader with these limits. */
export function createGenerateReader(limits: HttpLimits): GenerateReader {
  const Form = generateForm(limits);
  const filesOf = new WeakMap<FastifyRequest, readonly FormFile[]>();
  return {
    async preValidation(request: FastifyRequest): Promise<void> {
      if (request.mediaType === FORM_TYPE) {
        const contentType = request.headers['content-type']!;
        const { fields, files } = readForm((request.body ?? Buffer.of()) as Buffer, contentType, Form);
        filesOf.set(request, files);
        request.body = { ...fields, ...(files.length > 0 && { file: files.map(({ format }) => format) }) };
      }
      if (request.body === undefined) {
        if (request.mediaType === undefined)
          throw httpErrors.mediaType('There is no body and no Content-Type.');
        throw httpErrors.jsonInvalid('The body is empty.');
      }
      refuseOversized(request.body, limits);
    },
    async read(request: FastifyRequest): Promise<GenerateReading> {
      const query = request.query as GenerateOptions;
      const type = request.mediaType;
      if (type === JSON_TYPE) {
        const { prompts, description, ...fields } = request.body as GenerateRequest;
        const options = mergeOptions(query, fields);
        if (description !== undefined) return readDescription(description, prompts, options);
        if (prompts === undefined) {
          throw httpErrors.requestInvalid('A field does not fit.', {
            fields: [{ pointer: '/prompts', message: 'is missing' }],
          });
        }
        return { options, reading: readingOfRows(prompts, choiceOf(options), limits) };
      }
      if (type === FORM_TYPE) {
        const { file: _names, ...fields } = request.body as GenerateOptions & { file: string[] };
        const options = mergeOptions(query, fields);
        return { options, reading: await readFiles(filesOf.get(request)!, choiceOf(options), limits) };
      }
      const file = { bytes: request.body as Uint8Array, format: PROMPT_TYPES[type!]! };
      return { options: query, reading: await readFiles([file], choiceOf(query), limits) };
    },
  };
}

/** Options of the query with those of the body, which win: also over the other way to say where the prompt is. */
function mergeOptions(
  query: GenerateOptions,
  fields: GenerateOptionsWithMetadata,
): GenerateOptionsWithMetadata {
  const { promptField, promptTemplate, ...others } = query;
  const chosen = fields.promptField !== undefined || fields.promptTemplate !== undefined;
  return {
    ...others,
    ...(!chosen && promptField !== undefined && { promptField }),
    ...(!chosen && promptTemplate !== undefined && { promptTemplate }),
    ...fields,
  };
}

/** A description as the only text. Errors: `options-conflict` where there are prompts, or ways to choose them, too. */
function readDescription(
  description: string,
  prompts: GenerateRequest['prompts'],
  options: GenerateOptionsWithMetadata,
): GenerateReading {
  const others = { prompts, promptField: options.promptField, promptTemplate: options.promptTemplate };
  const excluded = Object.entries(others).filter(([, value]) => value !== undefined);
  if (excluded.length > 0) {
    throw httpErrors.optionsConflict('A description is the only text of a request.', {
      fields: excluded.map(([name]) => ({ pointer: `/${name}`, message: 'excludes description' })),
    });
  }
  const texts = [description];
  const source = sourceOf(texts, { format: 'json', field: 'description' });
  return { options, reading: { prompts: texts, source, warnings: [] }, described: true };
}

/** The prompts of a JSON body, which are checked with the options. */
function readingOfRows(
  values: NonNullable<GenerateRequest['prompts']>,
  choice: PromptChoice,
  { maxBodyBytes }: HttpLimits,
): PromptReading {
  const rows = values.map((value, index) => ({ value, number: index + 1 }));
  const { prompts, field, warnings } = choosePrompts(
    { rows, unit: 'Item', prefix: '/prompts' },
    choice,
    maxBodyBytes,
  );
  return {
    prompts,
    source: sourceOf(prompts, { format: 'json', ...(field !== undefined && { field }) }),
    warnings,
  };
}

function choiceOf({ promptField: field, promptTemplate: template }: GenerateOptions): PromptChoice {
  return { ...(field !== undefined && { field }), ...(template !== undefined && { template }) };
}

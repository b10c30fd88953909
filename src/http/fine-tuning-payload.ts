/** A fine-tuning request → the payload of the generation that it is. */
import { checkGgufTarget } from '../adapter/gguf-architecture.ts';
import { sha256Json } from '../base/digest.ts';
import { LoradropError } from '../base/errors.ts';
import { fineTuningErrors } from '../finetuning/errors.ts';
import { fineTunedModel, isNameOfBase, uploadTime } from '../finetuning/ids.ts';
import type { FineTuning, GeneratePayload } from '../jobs/catalog.ts';
import type { Bundle } from '../models/bundle.ts';
import { modelErrors } from '../models/errors.ts';
import { targetOfBase } from '../models/gguf-target.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { promptErrors } from '../prompts/errors.ts';
import { readPrompts } from '../prompts/read-prompts.ts';
import type { PromptReading } from '../prompts/read-unpacked.ts';
import type { PromptsFrom } from '../prompts/training-rows.ts';
import { UPLOADED_FILE } from '../store/uploads.ts';
import type { FineTuningRequest } from './fine-tuning-schemas.ts';
import { type GenerateContext, makeGeneratePayload } from './generate-payload.ts';
import type { HttpServices } from './services.ts';

/** Rows of a fine-tuning file: five times what a request takes, since people have such files already and need not cut them. */
const MAX_ROWS = 100_000;
const WHAT_TO_DO = 'Correct the file, upload it again and create another job.';
const PROMPT_CODES: ReadonlySet<string> = new Set(Object.values(promptErrors).map(({ spec }) => spec.code));

type Refusal = NonNullable<FineTuning['refusal']>;
/** What the files of a request hold: the reading of the training file, or why one of them cannot be used. */
export type FilesRead = { readonly reading: PromptReading } | { readonly refusal: Refusal };

/** Refuses what OpenAI's API has and is not done here. Errors: `fine-tuning-unsupported`. */
export function refuseUnsupported({ method, integrations }: FineTuningRequest): void {
  if (method && method.type !== 'supervised') {
    throw fineTuningErrors.unsupported(
      `The method \`${method.type}\` takes gradient steps. Leave \`method\` out for an adapter that is generated from the prompts.`,
      { fields: [{ pointer: '/method/type', message: 'takes `supervised` alone' }] },
    );
  }
  if (integrations && integrations.length > 0) {
    throw fineTuningErrors.unsupported(
      'Nothing is sent to other services; the events of the job tell all there is.',
      {
        fields: [{ pointer: '/integrations', message: 'takes none' }],
      },
    );
  }
}

/**
 * The model that a request names: a bundle by its id, or the one for a base of that name (with or without its owner), also by
 * an alias of the operator's. Errors: `model-not-found`, which lists them.
 */
export function chooseModel(
  name: string,
  { models, aliases }: { models: ModelRegistry; aliases: ReadonlyMap<string, string> },
): Bundle {
  const wanted = aliases.get(name) ?? name;
  const all = models.list();
  const isBase = ({ manifest: { base } }: Bundle) => isNameOfBase(wanted, base.id);
  const fallback = models.default();
  const found =
    all.find(({ manifest }) => manifest.id === wanted) ??
    (fallback && isBase(fallback) ? fallback : all.find(isBase));
  if (found) return found;
  const there = all.map(({ manifest }) => `${manifest.id} (for ${manifest.base.id})`).join(', ');
  throw modelErrors.unknown(
    `There is ${there || 'none'}. For other names, the operator sets FINE_TUNING_ALIASES.`,
    { fields: [{ pointer: '/model', message: 'is not there' }] },
  );
}

/**
 * Reads the training file, and checks the rows of the validation file. Errors: `file-not-found`, `store-unavailable`; a file that
 * cannot be used is an answer, since the job is to fail with it.
 */
export async function readTrainingFiles(
  services: Pick<HttpServices, 'files' | 'limits' | 'maxFileBytes' | 'now'>,
  tenant: string,
  request: Pick<FineTuningRequest, 'training_file' | 'validation_file'>,
  { manifest }: Bundle,
): Promise<FilesRead> {
  // What this family takes is a description of the task, and the system text is one.
  const from = manifest.family === 't2l' ? 'system' : 'user';
  const { files, limits, maxFileBytes, now = Date.now } = services;
  const own = files.of(tenant);

  const read = async (id: string, file: Refusal['file'], training: PromptsFrom): Promise<FilesRead> => {
    const upload = uploadTime(id) === undefined ? undefined : await own.find(id);
    if (!upload || upload.expiresAt <= now()) {
      throw fineTuningErrors.noFile('It was never uploaded, or it is gone by now.', {
        fields: [{ pointer: `/${file}`, message: 'is not there' }],
      });
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of await own.read(id, UPLOADED_FILE)) chunks.push(chunk);
    try {
      const reading = await readPrompts(Buffer.concat(chunks), {
        format: 'jsonl',
        limits: { maxPrompts: MAX_ROWS, maxPromptChars: limits.maxPromptChars, maxBytes: maxFileBytes },
        choice: { training },
      });
      return { reading };
    } catch (error) {
      if (!(error instanceof LoradropError) || !PROMPT_CODES.has(error.code)) throw error;
      return { refusal: { file, detail: refusalText(error) } };
    }
  };

  const training = await read(request.training_file, 'training_file', from);
  if ('refusal' in training || request.validation_file == null) return training;
  const validation = await read(request.validation_file, 'validation_file', 'user');
  return 'refusal' in validation ? validation : training;
}

/** What is wrong, the first of the lines where it is, and what to do. */
function refusalText({ message, fields }: LoradropError): string {
  const lines = fields.map((field) => field.message).filter((line) => line !== message);
  return [message, ...lines.slice(0, 3), WHAT_TO_DO].join(' ');
}

/** Stands for the prompts of a job that fails before it looks at them. */
const UNREAD: PromptReading = {
  prompts: ['unread'],
  source: { format: 'jsonl', rows: 0, distinct: 0 },
  warnings: [],
};

/**
 * The payload. The adapter's id is the name of the model, and it is kept as GGUF too where its base's can be. Errors: those of
 * `makeGeneratePayload`.
 */
export function fineTuningPayload(
  request: FineTuningRequest,
  files: FilesRead,
  { bundle, ...context }: Omit<GenerateContext, 'reading'> & { readonly bundle: Bundle },
): GeneratePayload {
  const { base, id: model } = bundle.manifest;
  const { seed, metadata, suffix, training_file: trainingFile, validation_file: validationFile } = request;
  const reading = 'reading' in files ? files.reading : UNREAD;
  const payload = makeGeneratePayload(
    {
      model,
      ...(seed != null && { seed }),
      ...(metadata && { metadata }),
      ...(suffix != null && { name: suffix }),
      ...(canBeGguf(bundle.manifest) && { format: 'gguf' }),
    },
    // It was held to this bound when it was read.
    { ...context, reading, limits: { ...context.limits, maxPrompts: MAX_ROWS } },
  );
  const { webhook: _, ...asked } = request;
  return {
    ...payload,
    ...('refusal' in files && { prompts: [], draws: [[]], warnings: [] }),
    adapterIds: [fineTunedModel(context.id, { base: base.id, suffix: suffix ?? undefined })],
    fingerprint: sha256Json({ fineTuning: asked }),
    fineTuning: {
      model: request.model,
      baseModel: base.id,
      trainingFile,
      ...(validationFile != null && { validationFile }),
      ...(suffix != null && { suffix }),
      hyperparameters: { ...request.hyperparameters, ...request.method?.supervised?.hyperparameters },
      ...(reading.training && { counts: reading.training }),
      ...('refusal' in files && { refusal: files.refusal }),
    },
  };
}

/** True where the adapters of a model can be written as GGUF. */
function canBeGguf({ base, layout }: Bundle['manifest']): boolean {
  try {
    checkGgufTarget(targetOfBase(base), layout.modules);
    return true;
  } catch (error) {
    if (error instanceof LoradropError) return false;
    throw error;
  }
}

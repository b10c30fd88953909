/** Ids and names of fine-tuning: they look like OpenAI's, and fit wherever ids and names of Loradrop go. */
import { randomBytes } from 'node:crypto';

type Random = (bytes: number) => Uint8Array;

/** What ids of fine-tuning jobs begin with. */
export const FINE_TUNING_PREFIX = 'ftjob-';
/** The form of {@link newFineTuningId} and {@link fineTuningIdOfKey}. */
const JOB_ID = /^ftjob-([0-9a-f]{24})$/;

/** A new id of a fine-tuning job. */
export function newFineTuningId(random: Random = randomBytes): string {
  return `${FINE_TUNING_PREFIX}${Buffer.from(random(12)).toString('hex')}`;
}

/** The id of the fine-tuning job of an Idempotency-Key, from the id that any job of the key has. */
export function fineTuningIdOfKey(jobId: string): string {
  return `${FINE_TUNING_PREFIX}${jobId.replace(/^key_/, '').slice(0, 24)}`;
}

/** Hex digits of a file's time in its id: enough until the year 2527. */
const TIME_DIGITS = 11;
const UPLOAD_ID = new RegExp(`^file-([0-9a-f]{${TIME_DIGITS}})[0-9a-f]{20}$`);

/** A new id of an uploaded file. It begins with the time, in milliseconds since the epoch, so that ids sort as the files came. */
export function newUploadId(now: number, random: Random = randomBytes): string {
  const time = now.toString(16).padStart(TIME_DIGITS, '0');
  return `file-${time}${Buffer.from(random(10)).toString('hex')}`;
}

/** When a file of {@link newUploadId} came; undefined for an id of something else. */
export function uploadTime(id: string): number | undefined {
  const time = UPLOAD_ID.exec(id)?.[1];
  return time === undefined ? undefined : Number.parseInt(time, 16);
}

/** The files that a job's adapter consists of, as result files name them. */
export const RESULT_KINDS = ['weights', 'config', 'gguf'] as const;
/** One of {@link RESULT_KINDS}. */
export type ResultKind = (typeof RESULT_KINDS)[number];

const RESULT_ID = /^file-([0-9a-f]{24})-(weights|config|gguf)$/;

/** The id of a job's result file: it names the job, so nothing has to be kept for it. */
export function resultFileId(jobId: string, kind: ResultKind): string {
  return `file-${JOB_ID.exec(jobId)?.[1]}-${kind}`;
}

/** The job and the kind that a result file's id stands for; undefined for an id of something else. */
export function parseResultFileId(
  id: string,
): { readonly jobId: string; readonly kind: ResultKind } | undefined {
  const [, stamp, kind] = RESULT_ID.exec(id) ?? [];
  return kind === undefined
    ? undefined
    : { jobId: `${FINE_TUNING_PREFIX}${stamp}`, kind: kind as ResultKind };
}

/** Characters of a base's name and of a suffix in the name of a model: with the rest 64, as many as an id has. */
const BASE_CHARS = 24;
const SUFFIX_CHARS = 22;
/** Digits of the job's id in it. */
const ID_CHARS = 12;

/**
 * The name of the model that a job makes: `ft-BASE-SUFFIX-ID`. OpenAI's has colons (`ft:base:org:suffix:id`), which neither
 * repositories of a Hub nor file names take; the organisation is the owner in the Hub view. It is the adapter's id, and so
 * the same adapter for as long as there is one.
 */
export function fineTunedModel(
  jobId: string,
  { base, suffix }: { base: string; suffix?: string | undefined },
): string {
  const parts = [
    'ft',
    slug(base.split('/').at(-1)!, BASE_CHARS),
    slug(suffix ?? '', SUFFIX_CHARS),
    jobId.slice(-ID_CHARS),
  ];
  return parts.filter((part) => part !== '').join('-');
}

/** True where `name` is that of a base, with or without its owner. */
export function isNameOfBase(name: string, base: string): boolean {
  return name === base || name.toLowerCase() === base.split('/').at(-1)!.toLowerCase();
}

/** A text as a part of an id: one `-` for all that cannot be in one. */
function slug(text: string, maxChars: number): string {
  return text
    .replace(/[^A-Za-z0-9_]+/g, '-')
    .replace(/^-/, '')
    .slice(0, maxChars)
    .replace(/-$/, '');
}

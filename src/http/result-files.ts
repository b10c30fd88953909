/** The files of the adapters that fine-tuning jobs have made, as OpenAI's API lists them. Nothing is kept for them: they are the adapters'. */
import { ADAPTER_GGUF_FILE } from '../adapter/convert-gguf.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { parseResultFileId, type ResultKind, resultFileId } from '../finetuning/ids.ts';
import { type FineTuningRecord, inSeconds, isFineTuning, resultKinds } from '../finetuning/present-job.ts';
import type { TenantGenerateQueue } from '../jobs/generate-queue.ts';
import type { StoredAdapter, StoredFile, TenantStore } from '../store/store.ts';
import { type FileObject, RESULT_PURPOSE } from './file-schemas.ts';
import type { ServedFile } from './present-adapter.ts';

const NAMES: Readonly<Record<ResultKind, ServedFile>> = {
  weights: ADAPTER_WEIGHTS_FILE,
  config: ADAPTER_CONFIG_FILE,
  gguf: ADAPTER_GGUF_FILE,
};

/** A file of an adapter that a job has made. */
export type ResultFile = {
  readonly object: FileObject;
  readonly adapter: StoredAdapter;
  readonly name: ServedFile;
};

/** Where result files are looked up. */
export type ResultSources = {
  readonly queue: Pick<TenantGenerateQueue, 'find'>;
  readonly store: Pick<TenantStore, 'find'>;
  readonly now: () => number;
};

/** The result file with this id; undefined where there is none, or its adapter is gone. */
export async function findResultFile(
  id: string,
  { queue, ...sources }: ResultSources,
): Promise<ResultFile | undefined> {
  const named = parseResultFileId(id);
  const record = named && (await queue.find(named.jobId));
  if (!record || !isFineTuning(record)) return undefined;
  return (await resultFilesOf(record, sources)).find(({ object }) => object.id === id);
}

/** The files of a job's adapter; none until it is made, and once it is gone. */
export async function resultFilesOf(
  record: FineTuningRecord,
  { store, now }: Omit<ResultSources, 'queue'>,
): Promise<ResultFile[]> {
  if (record.status !== 'succeeded') return [];
  const adapter = await store.find(record.payload.adapterIds[0]!);
  if (!adapter || adapter.expiresAt <= now()) return [];
  return resultKinds(record).flatMap((kind) => {
    const file = adapter.files.find(({ name }) => name === NAMES[kind]);
    return file ? [{ adapter, name: NAMES[kind], object: present(record, kind, adapter, file) }] : [];
  });
}

function present(
  { id, finishedAt }: FineTuningRecord,
  kind: ResultKind,
  { createdAt, expiresAt }: StoredAdapter,
  { name, bytes }: StoredFile,
): FileObject {
  return {
    id: resultFileId(id, kind),
    object: 'file',
    bytes,
    created_at: inSeconds(finishedAt ?? createdAt),
    expires_at: inSeconds(expiresAt),
    filename: name,
    purpose: RESULT_PURPOSE,
    status: 'processed',
  };
}

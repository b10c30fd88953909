/** Waiting for a job on behalf of a request. */
import type { FastifyReply } from 'fastify';
import type { GenerateRecord, TenantGenerateQueue } from '../jobs/generate-queue.ts';

/** Aborts when the reply's connection is gone, or when `closing` does. */
export function connectionSignal(reply: FastifyReply, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  if (reply.raw.destroyed) gone.abort();
  else reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([closing, gone.signal]);
}

/**
 * The record once it is final, or as it last stood when the wait or the signal ended. Errors: those of `queue.watch`.
 */
export async function awaitJob(
  queue: Pick<TenantGenerateQueue, 'watch'>,
  record: GenerateRecord,
  { waitSeconds, signal }: { waitSeconds: number; signal: AbortSignal },
): Promise<GenerateRecord> {
  const stop = AbortSignal.any([signal, AbortSignal.timeout(waitSeconds * 1000)]);
  let last = record;
  try {
    for await (const current of queue.watch(record.id, { signal: stop })) last = current;
  } catch (error) {
    if (!stop.aborted) throw error;
  }
  return last;
}

/** Sending an adapter as GGUF: the file that is kept, or one that is made while it is sent. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import {
  ADAPTER_GGUF_FILE,
  type Conversion,
  conversionKey,
  type GgufFile,
  openGguf,
  STORED_GGUF_DTYPE,
} from '../adapter/convert-gguf.ts';
import type { GgufDtype } from '../adapter/gguf.ts';
import { ADAPTER_CONFIG_FILE } from '../adapter/read-peft-config.ts';
import { ADAPTER_WEIGHTS_FILE } from '../adapter/verify.ts';
import { type Sha256, sha256Json } from '../base/digest.ts';
import type { AdapterInfo } from '../jobs/adapter-info.ts';
import { openStoredPeft } from '../jobs/stored-peft.ts';
import { targetOfAdapter } from '../models/gguf-target.ts';
import type { ModelRegistry } from '../models/registry.ts';
import { fileOf } from '../store/file-of.ts';
import type { StoredAdapter, TenantStore } from '../store/store.ts';
import { SERVED_FILES } from './present-adapter.ts';
import { sendAdapterFile, sendFile } from './send-adapter.ts';

/**
 * Answers GET or HEAD with an adapter as GGUF, like {@link sendAdapterFile}. Of a file that is made, the ETag tells all that
 * its bytes depend on, and a range is made like the whole, less what lies outside. Errors: those of `sendAdapterFile`,
 * `gguf-unsupported`, `gguf-heads-unknown`, `adapter-mismatch`, `safetensors-invalid`.
 */
export async function sendGguf(
  { store, models }: { store: Pick<TenantStore, 'read'>; models: Pick<ModelRegistry, 'list'> },
  adapter: StoredAdapter,
  dtype: GgufDtype,
  context: { request: FastifyRequest; reply: FastifyReply },
): Promise<FastifyReply> {
  if (dtype === STORED_GGUF_DTYPE && adapter.files.some(({ name }) => name === ADAPTER_GGUF_FILE)) {
    return sendAdapterFile(store, adapter, ADAPTER_GGUF_FILE, context);
  }
  const file = await openAdapterGguf({ store, models }, adapter, dtype);
  return sendFile(
    {
      bytes: file.bytes,
      sha256: file.key,
      isMade: true,
      createdAt: adapter.createdAt,
      mediaType: SERVED_FILES[ADAPTER_GGUF_FILE],
      read: (options) => file.read(options),
    },
    context,
  );
}

/** An adapter as GGUF that is made while it is read; `key` tells all that its bytes depend on. Errors: as {@link sendGguf}. */
export async function openAdapterGguf(
  { store, models }: { store: Pick<TenantStore, 'read'>; models: Pick<ModelRegistry, 'list'> },
  adapter: StoredAdapter,
  dtype: GgufDtype,
): Promise<GgufFile & { readonly key: Sha256 }> {
  const [weights, config] = [fileOf(adapter, ADAPTER_WEIGHTS_FILE), fileOf(adapter, ADAPTER_CONFIG_FILE)];
  const conversion: Conversion = { dtype, target: targetOfAdapter(adapter.info as AdapterInfo, models) };
  const file = await openGguf(await openStoredPeft(store, adapter), conversion);
  return {
    ...file,
    key: sha256Json({ weights: weights.sha256, config: config.sha256, ...conversionKey(conversion) }),
  };
}

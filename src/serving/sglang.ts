/**
 * SGLang, from its sources (sgl-project/sglang 0.5, `srt/entrypoints/http_server.py`, `srt/managers/io_struct.py`,
 * `srt/lora/lora_registry.py`): `POST /load_lora_adapter` and `/unload_lora_adapter` answer with `success` and
 * `error_message`, 400 where they say no; `/generate` names the adapter as `lora_path`. It was not run for this.
 */
import { callReplica, type Replica } from './call.ts';
import { servingErrors } from './errors.ts';
import type { ModelServer } from './model-server.ts';
import { listModels, refusal } from './openai-models.ts';
import { findOut, PROBE_TIMEOUT_MS, probe } from './probe.ts';

/** The server fetches the files while the call waits. */
const LOAD_TIMEOUT_MS = 300_000;

/** See the file's comment. */
export const sglang: ModelServer = {
  loads: true,
  async list(replica, options) {
    return (await listModels(replica, options)).adapters;
  },
  load: (replica, { name, path }, { signal }) =>
    change(
      replica,
      '/load_lora_adapter',
      { lora_name: name, lora_path: path },
      /already (exists|loaded)/i,
      signal,
    ),
  unload: (replica, name, { signal }) =>
    change(replica, '/unload_lora_adapter', { lora_name: name }, /does not exist|not loaded/i, signal),
  probe: (replica, { name }, { signal }) =>
    findOut(
      () =>
        probe((model, prompt) =>
          promptLogprobs(replica, { prompt, ...(model === 'adapter' && { name }), signal }),
        ),
      signal,
    ),
  usage: ({ name }) => ({ lora_path: name }),
};

/** `done` is what the server says where there is nothing left to change. */
async function change(
  replica: Replica,
  path: string,
  body: object,
  done: RegExp,
  signal: AbortSignal,
): Promise<void> {
  const answer = await callReplica(replica, {
    method: 'POST',
    path,
    body,
    timeoutMs: LOAD_TIMEOUT_MS,
    signal,
  });
  const { success, error_message: reason } = Object(answer.body) as {
    success?: unknown;
    error_message?: unknown;
  };
  if (answer.status === 200 && success === true) return;
  const text = String(reason ?? '').slice(0, 200);
  if (done.test(text)) return;
  throw servingErrors.refused(`${replica.name} answers with ${answer.status}.`, { cause: new Error(text) });
}

/** Pairs of log-probability and token; the first token has none. */
async function promptLogprobs(
  replica: Replica,
  { prompt, name, signal }: { prompt: string; name?: string; signal: AbortSignal },
): Promise<number[]> {
  const answer = await callReplica(replica, {
    method: 'POST',
    timeoutMs: PROBE_TIMEOUT_MS,
    path: '/generate',
    body: {
      text: prompt,
      sampling_params: { max_new_tokens: 1, temperature: 0 },
      return_logprob: true,
      logprob_start_len: 0,
      ...(name !== undefined && { lora_path: name }),
    },
    signal,
  });
  if (answer.status !== 200) throw refusal(replica, answer);
  const { meta_info: meta } = Object(answer.body) as { meta_info?: { input_token_logprobs?: unknown } };
  const tokens = meta?.input_token_logprobs;
  if (!Array.isArray(tokens)) return [];
  return tokens
    .map((token: unknown) => (Array.isArray(token) ? (token[0] as unknown) : undefined))
    .filter((value) => typeof value === 'number');
}

/**
 * vLLM (0.32.0, run for this): `POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter`, which need
 * `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`, and `prompt_logprobs` of completions.
 */
import { callReplica, type Replica } from './call.ts';
import type { ModelServer } from './model-server.ts';
import { listModels, messageOf, refusal } from './openai-models.ts';
import { findOut, PROBE_TIMEOUT_MS, probe } from './probe.ts';

/** The server fetches the files while the call waits. */
const LOAD_TIMEOUT_MS = 300_000;

type TokenLogprobs = Readonly<Record<string, { readonly logprob?: unknown }>>;

/** See the file's comment. */
export const vllm: ModelServer = {
  loads: true,
  async list(replica, options) {
    return (await listModels(replica, options)).adapters;
  },
  async load(replica, { name, path }, { signal }) {
    const answer = await callReplica(replica, {
      method: 'POST',
      path: '/v1/load_lora_adapter',
      body: { lora_name: name, lora_path: path },
      timeoutMs: LOAD_TIMEOUT_MS,
      signal,
    });
    if (answer.status === 200 || /already been loaded/.test(messageOf(answer.body))) return;
    throw refusal(replica, answer);
  },
  async unload(replica, name, { signal }) {
    const answer = await callReplica(replica, {
      method: 'POST',
      path: '/v1/unload_lora_adapter',
      body: { lora_name: name },
      signal,
    });
    if (answer.status === 200 || /cannot be found/.test(messageOf(answer.body))) return;
    throw refusal(replica, answer);
  },
  probe: (replica, { name }, { signal }) =>
    findOut(async () => {
      const { base } = await listModels(replica, { signal });
      return probe((model, prompt) =>
        promptLogprobs(replica, { model: model === 'base' ? base : name, prompt, signal }),
      );
    }, signal),
  usage: ({ name }) => ({ model: name }),
};

/** The first token has none: it is given, not predicted. */
async function promptLogprobs(
  replica: Replica,
  { model, prompt, signal }: { model: string; prompt: string; signal: AbortSignal },
): Promise<number[]> {
  const answer = await callReplica(replica, {
    method: 'POST',
    timeoutMs: PROBE_TIMEOUT_MS,
    path: '/v1/completions',
    body: { model, prompt, max_tokens: 1, temperature: 0, prompt_logprobs: 0 },
    signal,
  });
  if (answer.status !== 200) throw refusal(replica, answer);
  const { choices } = Object(answer.body) as { choices?: { prompt_logprobs?: unknown }[] };
  const tokens = choices?.[0]?.prompt_logprobs;
  if (!Array.isArray(tokens)) return [];
  return (tokens as (TokenLogprobs | null)[])
    .map((token) => Number(Object.values(token ?? {})[0]?.logprob))
    .filter(Number.isFinite);
}

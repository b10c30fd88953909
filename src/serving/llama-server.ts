/**
 * llama-server, from llama.cpp’s sources (b8681, `tools/server/README.md`, `server-task.cpp`): adapters are given when it starts
 * (`--lora FILE --lora-init-without-apply`), `GET /lora-adapters` lists them as `[{id, path, scale}]`, and a request carries
 * `lora: [{id, scale}]`, where those that are not named count as 0. So there is nothing to load: the hand-over tells whether the
 * server was started with the adapter. Scales of the server itself (`POST /lora-adapters`) are left alone, since they hold
 * for everybody’s requests.
 */
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { callReplica, type Replica } from './call.ts';
import type { ModelServer } from './model-server.ts';
import { refusal } from './openai-models.ts';
import { findOut, PROBE_TIMEOUT_MS, probe } from './probe.ts';

/** Likeliest next tokens that are compared. */
const TOP_TOKENS = 20;

const checkAdapters = Compile(
  Type.Array(Type.Object({ id: Type.Integer(), path: Type.String(), scale: Type.Number() })),
);

/** See the file's comment. */
export const llamaServer: ModelServer = {
  loads: false,
  list: async (replica, { signal }) =>
    (await adaptersOf(replica, signal)).map(({ path }) => ({ name: path, path })),
  load: async () => undefined,
  unload: async () => undefined,
  probe: (replica, { path }, { signal }) =>
    findOut(async () => {
      const adapters = await adaptersOf(replica, signal);
      return probe((model, prompt) => {
        const lora = adapters.map((each) => ({
          id: each.id,
          scale: model === 'adapter' && each.path === path ? 1 : 0,
        }));
        return nextLogprobs(replica, { prompt, lora, signal });
      });
    }, signal),
  // The number depends on the order in which a replica was given its adapters, so only the server itself can tell.
  usage: ({ path }) => ({ lora: [{ id: `id of ${path} in GET /lora-adapters`, scale: 1 }] }),
};

async function adaptersOf(replica: Replica, signal: AbortSignal) {
  const answer = await callReplica(replica, { path: '/lora-adapters', signal });
  if (answer.status !== 200 || !checkAdapters.Check(answer.body)) throw refusal(replica, answer);
  return answer.body;
}

/** Log-probabilities of the likeliest next tokens, the largest first: it gives none of the prompt's own. */
async function nextLogprobs(
  replica: Replica,
  { prompt, lora, signal }: { prompt: string; lora: readonly object[]; signal: AbortSignal },
): Promise<number[]> {
  const answer = await callReplica(replica, {
    method: 'POST',
    timeoutMs: PROBE_TIMEOUT_MS,
    path: '/completion',
    body: { prompt, n_predict: 1, temperature: 0, n_probs: TOP_TOKENS, cache_prompt: false, lora },
    signal,
  });
  if (answer.status !== 200) throw refusal(replica, answer);
  const { completion_probabilities: tokens } = Object(answer.body) as {
    completion_probabilities?: { top_logprobs?: { logprob?: unknown }[] }[];
  };
  return (tokens?.[0]?.top_logprobs ?? [])
    .map(({ logprob }) => Number(logprob))
    .filter(Number.isFinite)
    .sort((a, b) => b - a);
}

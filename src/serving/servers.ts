import { llamaServer } from './llama-server.ts';
import { lorax } from './lorax.ts';
import type { ModelServer } from './model-server.ts';
import { sglang } from './sglang.ts';
import type { ServerKind } from './targets.ts';
import { vllm } from './vllm.ts';

/** The code for each kind of model server. */
export const MODEL_SERVERS: Readonly<Record<ServerKind, ModelServer>> = {
  vllm,
  sglang,
  lorax,
  'llama-server': llamaServer,
};

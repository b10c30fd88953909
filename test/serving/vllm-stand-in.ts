/**
 * A STAND-IN for vLLM, no model server: it keeps names and answers with made-up log-probabilities. Addresses, fields, statuses
 * and sentences are those that vLLM 0.32.0 answered with (`test/serving/try_vllm.py` runs the real one), and it refuses what that
 * refuses. Faults of a server are switched on by a test.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A stand-in that a test looks into. */
export type VllmStandIn = {
  readonly url: string;
  /** Host and port, as deployments name the replica. */
  readonly name: string;
  /** Path by name. */
  readonly loaded: ReadonlyMap<string, string>;
  /** Bodies of all loads. */
  readonly loads: readonly Record<string, unknown>[];
  /** Says yes to a load and has nothing. */
  forgets: boolean;
  /** Lists adapters and answers as the base does. */
  ignores: boolean;
  /** Answers every load with this status. */
  refuses: number | undefined;
  /** Called before (`done` false) and after a request is carried out; the answer waits for it. */
  watch: (what: string, done: boolean) => Promise<void> | void;
  /** Ends the process, so to speak: it forgets all and does not answer. */
  kill(): Promise<void>;
  /** Starts again at the same port, empty. */
  restart(): Promise<void>;
  close(): Promise<void>;
};

const BASE = 'served-base';

/** Starts a stand-in on a free port. With `key` it wants that. */
export async function startVllmStandIn({ key }: { key?: string } = {}): Promise<VllmStandIn> {
  const loaded = new Map<string, string>();
  const loads: Record<string, unknown>[] = [];
  const state = {
    forgets: false,
    ignores: false,
    refuses: undefined as number | undefined,
    watch: (_what: string, _done: boolean): Promise<void> | void => undefined,
  };

  const wrong = (status: number, message: string) => ({
    status,
    body: { error: { message, type: 'error', param: null, code: status } },
  });

  function logprobs(model: string, prompt: string) {
    const shift = model === BASE || state.ignores ? 0 : model.length / 100;
    const words = prompt.split(' ');
    return words.map((word, at) =>
      at === 0 ? null : { [at]: { logprob: -word.length / 3 - shift, rank: 1, decoded_token: word } },
    );
  }

  function answer(
    request: IncomingMessage,
    body: Record<string, unknown>,
  ): { status: number; body: unknown } {
    if (key !== undefined && request.headers.authorization !== `Bearer ${key}`) {
      return { status: 401, body: { error: 'Unauthorized' } };
    }
    const { lora_name: name, lora_path: path } = body as { lora_name?: string; lora_path?: string };
    switch (`${request.method} ${request.url}`) {
      case 'GET /v1/models':
        return {
          status: 200,
          body: {
            object: 'list',
            data: [
              { id: BASE, object: 'model', root: '/models/base', parent: null },
              ...[...loaded].map(([id, root]) => ({ id, object: 'model', root, parent: BASE })),
            ],
          },
        };
      case 'POST /v1/load_lora_adapter':
        loads.push(body);
        if (!name || !path) return wrong(400, "Both 'lora_name' and 'lora_path' must be provided.");
        if (state.refuses !== undefined) return wrong(state.refuses, `Loading lora ${name} failed`);
        if (loaded.has(name)) return wrong(400, `The lora adapter '${name}' has already been loaded.`);
        if (!state.forgets) loaded.set(name, path);
        return { status: 200, body: `Success: LoRA adapter '${name}' added successfully.` };
      case 'POST /v1/unload_lora_adapter':
        if (!name) return wrong(400, "'lora_name' needs to be provided to unload a LoRA adapter.");
        if (!loaded.delete(name)) return wrong(404, `The lora adapter '${name}' cannot be found.`);
        return { status: 200, body: `Success: LoRA adapter '${name}' removed successfully.` };
      case 'POST /v1/completions': {
        const { model, prompt } = body as { model: string; prompt: string };
        if (model !== BASE && !loaded.has(model)) return wrong(404, `The model \`${model}\` does not exist.`);
        return { status: 200, body: { choices: [{ text: '', prompt_logprobs: logprobs(model, prompt) }] } };
      }
      default:
        return { status: 404, body: { detail: 'Not Found' } };
    }
  }

  function start(port: number): Promise<Server> {
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      const what = `${request.method} ${request.url}`;
      await state.watch(what, false);
      const { status, body } = answer(request, text ? (JSON.parse(text) as Record<string, unknown>) : {});
      await state.watch(what, true);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
    const { promise, resolve } = Promise.withResolvers<Server>();
    server.listen(port, '127.0.0.1', () => resolve(server));
    return promise;
  }

  let server: Server | undefined = await start(0);
  const { port } = server.address() as AddressInfo;
  const kill = async () => {
    loaded.clear();
    server?.closeAllConnections();
    await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    server = undefined;
  };
  return Object.assign(state, {
    url: `http://127.0.0.1:${port}`,
    name: `127.0.0.1:${port}`,
    loaded,
    loads,
    kill,
    async restart() {
      await kill();
      server = await start(port);
    },
    close: kill,
  });
}

/** Model servers that cannot run here, against STAND-INS that hold to what their sources say: each kind in a handful of lines. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Test, test } from 'tap';
import { callReplica, type Replica } from '../../src/serving/call.ts';
import { llamaServer } from '../../src/serving/llama-server.ts';
import { lorax } from '../../src/serving/lorax.ts';
import { probe } from '../../src/serving/probe.ts';
import { sglang } from '../../src/serving/sglang.ts';
import { vllm } from '../../src/serving/vllm.ts';
import { startVllmStandIn } from './vllm-stand-in.ts';

type Answer = { readonly status: number; readonly body?: unknown; readonly headers?: Record<string, string> };
// biome-ignore lint/suspicious/noExplicitAny: bodies of any kind of server.
type Body = any;

/** A server that answers as `answer` says and fails the test for what it does not know. */
async function serve(t: Test, answer: (what: string, body: Body) => Answer | undefined): Promise<Replica> {
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const what = `${request.method} ${request.url}`;
    const found = answer(what, text ? JSON.parse(text) : undefined);
    if (!found) t.fail(`${what} is no call of the server`);
    const { status, body, headers = {} } = found ?? { status: 404 };
    response.writeHead(status, headers).end(body === undefined ? '' : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { name: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}` };
}

const signal = AbortSignal.timeout(60_000);
const options = { signal };
const adapter = { name: 'team-a/x@0123456789ab', path: 'team-a/x' };

test('SGLang: a stand-in after its sources', async (t) => {
  const loaded = new Map<string, string>();
  let effect = 0.5;
  const replica = await serve(t, (what, body) => {
    if (what === 'GET /v1/models') {
      const card = (id: string, root: string, parent: string | null) => ({
        id,
        object: 'model',
        root,
        parent,
      });
      const adapters = [...loaded].map(([name, path]) => card(name, path, 'base'));
      return { status: 200, body: { object: 'list', data: [card('base', 'base', null), ...adapters] } };
    }
    const no = (message: string) => ({ status: 400, body: { success: false, error_message: message } });
    if (what === 'POST /load_lora_adapter') {
      if (loaded.has(body.lora_name)) return no(`LoRA with name ${body.lora_name} already exists.`);
      if (body.lora_path === 'team-a/large')
        return no('LoRA adapter is incompatible with the current LoRA memory pool.');
      loaded.set(body.lora_name, body.lora_path);
      return { status: 200, body: { success: true, error_message: '', loaded_adapters: {} } };
    }
    if (what === 'POST /unload_lora_adapter') {
      if (!loaded.delete(body.lora_name)) return no(`LoRA with name ${body.lora_name} does not exist.`);
      return { status: 200, body: { success: true, error_message: '', loaded_adapters: {} } };
    }
    if (what === 'POST /generate') {
      t.equal(body.logprob_start_len, 0);
      const shift = body.lora_path === undefined ? 0 : effect;
      const tokens = [[null, 1, null], ...[1, 2, 3].map((n) => [-n - shift, n, null])];
      return { status: 200, body: { text: '', meta_info: { input_token_logprobs: tokens } } };
    }
    return undefined;
  });
  await sglang.load(replica, adapter, options);
  await sglang.load(replica, adapter, options);
  t.same(await sglang.list(replica, options), [adapter]);
  t.match(await sglang.probe(replica, adapter, options), { applied: true, difference: 0.5, noise: 0 });
  effect = 0;
  t.match(await sglang.probe(replica, adapter, options), { applied: false, difference: 0 });
  await sglang.unload(replica, adapter.name, options);
  await sglang.unload(replica, adapter.name, options);
  t.same(await sglang.list(replica, options), []);
  await t.rejects(sglang.load(replica, { name: 'l', path: 'team-a/large' }, options), {
    code: 'replica-refused',
  });
  t.same(sglang.usage(adapter), { lora_path: adapter.name });
});

test('llama-server: a stand-in after its sources', async (t) => {
  const path = '/mnt/adapters/team-a/x/adapter.gguf';
  const replica = await serve(t, (what, body) => {
    if (what === 'GET /lora-adapters') {
      return {
        status: 200,
        body: [
          { id: 0, path: '/other.gguf', scale: 0 },
          { id: 1, path, scale: 0 },
        ],
      };
    }
    if (what === 'POST /completion') {
      t.equal(body.lora.find((each: Body) => each.id === 0).scale, 0, 'others are off');
      const scale = body.lora.find((each: Body) => each.id === 1).scale as number;
      const top = [1, 2, 3].map((n) => ({ id: n, token: '', logprob: -n - scale * n }));
      return { status: 200, body: { completion_probabilities: [{ top_logprobs: top }] } };
    }
    return undefined;
  });
  const listed = await llamaServer.list(replica, options);
  t.ok(listed!.some((each) => each.path === path));
  t.match(await llamaServer.probe(replica, { name: 'x', path }, options), { applied: true, difference: 3 });
});

test('LoRAX: what a request carries', async (t) => {
  const of = (path: string) => lorax.usage({ name: 'x', path });
  t.same(of('s3://b/p/x'), { adapter_id: 's3://b/p/x', adapter_source: 's3' });
  t.same(of('/mnt/x'), { adapter_id: '/mnt/x', adapter_source: 'local' });
  t.same(of('team-a/x'), { adapter_id: 'team-a/x', adapter_source: 'hub' });
});

test('vLLM with a key, and what is none of its answers', async (t) => {
  const server = await startVllmStandIn({ key: 'secret' });
  t.teardown(() => server.close());
  const replica = { name: server.name, url: server.url };
  await t.rejects(vllm.list(replica, options), { code: 'replica-refused' });
  const known = { ...replica, key: 'secret' };
  await vllm.load(known, adapter, options);
  await vllm.load(known, adapter, options);
  t.same(await vllm.list(known, options), [adapter]);
  t.match(await vllm.probe(known, adapter, options), { applied: true });
  await vllm.unload(known, adapter.name, options);
  await vllm.unload(known, adapter.name, options);
  t.match(await vllm.probe(known, adapter, options), { applied: 'unknown', reason: /answers with 404/ });
});

test('a call has bounds', async (t) => {
  const replica = await serve(t, (what) => {
    if (what === 'GET /moved') return { status: 302, headers: { location: '/elsewhere' } };
    if (what === 'GET /large') return { status: 200, body: 'x'.repeat(5 << 20) };
    return undefined;
  });
  t.match(await callReplica(replica, { path: '/moved', signal }), { status: 302 });
  await t.rejects(callReplica(replica, { path: '/large', signal }), { code: 'replica-unavailable' });
  const closed = { name: 'x', url: 'http://127.0.0.1:9' };
  await t.rejects(callReplica(closed, { path: '/', signal }), { code: 'replica-unavailable' });
  const aborted = AbortSignal.abort(new Error('stop'));
  await t.rejects(callReplica(replica, { path: '/moved', signal: aborted }), { message: 'stop' });
});

test('an effect has to stand out of the noise', async (t) => {
  let asked = 0;
  const noisy = (effect: number) => async (model: string) => {
    asked += 1;
    return [-1 - (asked % 3) * 0.001 - (model === 'adapter' ? effect : 0), -2];
  };
  t.match(await probe(noisy(0.002)), { applied: false });
  t.match(await probe(noisy(0.5)), { applied: true });
  t.match(await probe(async () => []), { applied: 'unknown' });
});

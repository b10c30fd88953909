import { fork } from 'node:child_process';
import { cp, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import { createEngine, type EngineOptions } from '../../src/inference/create-engine.ts';
import type { Engine, Inference, InferenceProgress, TokenBlock } from '../../src/inference/engine.ts';
import type { Bundle } from '../../src/models/bundle.ts';
import {
  slicedBundle,
  somePrompts,
  stagedBundle,
  temporaryDirectory,
  untrainedBundle,
  variant,
} from './bundles.ts';

/** Starts an engine that is closed with the test; `pids` are those of its processes so far. */
async function startEngine(t: Tap, options: Partial<EngineOptions> = {}) {
  const pids: number[] = [];
  const listeners: ((message: string, pid: number) => void)[] = [];
  const logger = pino(
    { level: 'debug' },
    {
      write(line: string) {
        const { msg, pid } = JSON.parse(line) as { msg: string; pid: number };
        if (msg === 'inference process started') pids.push(pid);
        for (const listener of listeners) listener(msg, pids.at(-1)!);
      },
    },
  );
  const engine = await createEngine({
    device: 'cpu',
    encodeTokenBudget: 8192,
    batchWaitMs: 5,
    promptCacheBytes: 1 << 26,
    cancelGraceMs: 60_000,
    logger,
    ...options,
  });
  t.teardown(() => engine.close());
  /** Calls `act` with the process's id at every log line with this message. */
  const onLog = (message: string, act: (pid: number) => void) =>
    void listeners.push((msg, pid) => msg === message && act(pid));
  return { engine, pids, onLog };
}

type Tap = { teardown(run: () => Promise<unknown>): void };

const allTokens = (bundle: Bundle): TokenBlock[] => [
  { start: 0, count: bundle.manifest.decoder.features.at(-1)![0] },
];

/** The digest of everything an inference hands out. */
async function digestOf(inference: Inference): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const values of inference.tokens) {
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return sha256(Buffer.concat(parts));
}

const inferAll = async (
  engine: Engine,
  bundle: Bundle,
  prompts: readonly string[],
  options: { signal?: AbortSignal; onProgress?: (progress: InferenceProgress) => void } = {},
) => digestOf(await engine.infer({ bundle, prompts, blocks: allTokens(bundle) }, options));

/** True while a process of that id exists. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Calls `act` at the first progress that says the decoder is about to run. */
const onceDecoding = (act: () => void) => {
  let done = false;
  return ({ stage }: InferenceProgress) => {
    if (stage !== 'decoding' || done) return;
    done = true;
    act();
  };
};

test('with the untrained bundle', async (t) => {
  const bundle = await untrainedBundle(t);
  const prompts = somePrompts(bundle, 'a');
  const others = somePrompts(bundle, 'b');
  /** For the tests that leave an engine as they find it. */
  const { engine, pids } = await startEngine(t);
  const expected = await inferAll(engine, bundle, prompts);

  t.test('the same prompts give the same bytes, alone or in a crowd, cold or warm', async (t) => {
    t.equal(await inferAll(engine, bundle, prompts), expected, 'from the prompt cache');
    const crowd = [
      others,
      prompts,
      [...prompts].reverse(),
      [...prompts.slice(0, 8), ...others.slice(8)],
      prompts,
    ];
    const digests = await Promise.all(crowd.map((each) => inferAll(engine, bundle, each)));
    t.equal(digests[1], expected);
    t.equal(digests[4], expected);
    t.equal(new Set(digests).size, 4, 'other prompts, and another order, give other bytes');

    const other = await startEngine(t, {
      threads: 1,
      promptCacheBytes: 0,
      encodeTokenBudget: 64,
      batchWaitMs: 0,
    });
    t.equal(await inferAll(other.engine, bundle, prompts), expected, 'one thread, one prompt at a time');
    const staged = stagedBundle(bundle);
    t.equal(await inferAll(other.engine, staged, prompts), expected, 'stage by stage');
  });

  t.test('status, timings and cache counts', async (t) => {
    const { engine, pids } = await startEngine(t, { threads: 1 });
    t.strictSame(engine.device, { provider: 'cpu', name: 'cpu', threads: 1 });
    t.match(engine.status(), { state: 'ready', bundles: [], restarts: 0, promptCacheBytes: 0 });
    const loading = engine.load(bundle);
    t.equal(engine.status().state, 'starting');
    await loading;
    await engine.load(bundle);
    t.match(engine.status(), { state: 'ready', bundles: [bundle.digest], restarts: 0 });
    t.ok(engine.status().residentBytes > 60e6, 'the weights are resident');

    const blocks = allTokens(bundle);
    const doubled = prompts.map((_, index) => prompts[Math.floor(index / 2)]!);
    const first = await engine.infer({ bundle, prompts: doubled, blocks });
    t.match(first, { promptsCached: 0, promptsEncoded: 8, device: engine.device });
    t.ok(first.timings.decodingMs > 10 && first.timings.embeddingMs > 0 && first.timings.batchingMs >= 0);
    await digestOf(first);
    const second = await engine.infer({ bundle, prompts, blocks });
    t.match(second, { promptsCached: 8, promptsEncoded: 8 });
    await digestOf(second);
    const { condition } = bundle.manifest;
    t.equal(engine.status().promptCacheBytes, 16 * condition.tokens * condition.width * 4);
    t.equal(pids.length, 1);
  });

  t.test('progress never falls and names every stage', async (t) => {
    const { engine } = await startEngine(t, { encodeTokenBudget: 4 * bundle.manifest.condition.tokens });
    const staged = stagedBundle(bundle);
    const seen: InferenceProgress[] = [];
    await inferAll(engine, staged, prompts, { onProgress: (progress) => seen.push(progress) });
    const embedding = seen.filter(({ stage }) => stage === 'embedding').map(({ fraction }) => fraction);
    t.strictSame(embedding, [0, 0.25, 0.5, 0.75, 1]);
    const decoding = seen.filter(({ stage }) => stage === 'decoding').map(({ fraction }) => fraction);
    t.equal(decoding.length, staged.manifest.decoder.stages.length + 1);
    t.strictSame(
      decoding,
      [...decoding].sort((a, b) => a - b),
    );
    t.strictSame([decoding[0], decoding.at(-1)], [0, 1]);
    t.strictSame(
      seen.map(({ stage }) => stage),
      [...embedding.map(() => 'embedding'), ...decoding.map(() => 'decoding')],
    );
  });

  t.test('blocks come in the asked order, and reading may stop early', async (t) => {
    const [count, height, width] = bundle.manifest.decoder.features.at(-1)!;
    const whole = await engine.infer({ bundle, prompts, blocks: allTokens(bundle) });
    let all = new Float32Array(0);
    for await (const values of whole.tokens) all = Float32Array.from(values);
    t.equal(all.length, count * height * width);
    t.ok(all.every(Number.isFinite));

    const blocks = [
      { start: count - 1, count: 1 },
      { start: 0, count: 700 },
      { start: 3, count: 0 },
      { start: 5, count: 2 },
    ];
    const parts = await engine.infer({ bundle, prompts, blocks });
    let index = 0;
    for await (const values of parts.tokens) {
      const block = blocks[index++]!;
      const from = block.start * height * width;
      t.equal(
        Buffer.compare(bytes(values), bytes(all.subarray(from, from + block.count * height * width))),
        0,
      );
    }
    t.equal(index, blocks.length);

    const early = await engine.infer({
      bundle,
      prompts,
      blocks: [{ start: 0, count: 1 }, ...allTokens(bundle)],
    });
    for await (const values of early.tokens) {
      t.equal(values.length, height * width);
      break;
    }
    t.equal(await inferAll(engine, bundle, prompts), sha256(bytes(all)), 'the engine goes on');
  });

  t.test('the event loop stays free', async (t) => {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await Promise.all([inferAll(engine, bundle, prompts), inferAll(engine, bundle, others)]);
    delay.disable();
    const gapMs = delay.max / 1e6;
    t.comment(`largest gap ${gapMs.toFixed(1)} ms`);
    t.ok(gapMs < 200, 'shorter than a decode');
  });

  t.test('a cancel of waiting work is heard at once and costs nobody anything', async (t) => {
    const { engine } = await startEngine(t, { encodeTokenBudget: 64 });
    await engine.load(bundle);
    const cancel = new AbortController();
    const reason = new Error('no longer wanted');
    let waiting: Promise<unknown> = Promise.resolve();
    const running = inferAll(engine, bundle, prompts, {
      onProgress: onceDecoding(() => cancel.abort(reason)),
    });
    waiting = inferAll(engine, bundle, others, { signal: cancel.signal });
    await t.rejects(waiting, reason);
    t.equal(await running, expected);
    t.equal(engine.status().restarts, 0);
    await t.rejects(inferAll(engine, bundle, others, { signal: cancel.signal }), reason, 'aborted before');
  });

  t.test('canceled work of several stages stops between two of them', async (t) => {
    const staged = stagedBundle(bundle);
    await engine.load(staged);
    const cancel = new AbortController();
    let canceledAtMs = 0;
    const seen: number[] = [];
    const work = inferAll(engine, staged, prompts, {
      signal: cancel.signal,
      onProgress: ({ stage, fraction }) => {
        if (stage !== 'decoding') return;
        seen.push(fraction);
        canceledAtMs = performance.now();
        cancel.abort();
      },
    });
    await t.rejects(work, { name: 'AbortError' });
    t.ok(performance.now() - canceledAtMs < 50, 'the caller does not wait for the device');
    t.equal(await inferAll(engine, staged, prompts), expected);
    t.strictSame(seen, [0], 'no progress after the cancel');
    t.equal(engine.status().restarts, 0, 'without a new process');
  });

  t.test('of a batch, only the canceled part is left out', async (t) => {
    const { engine } = await startEngine(t, { batchWaitMs: 50, cancelGraceMs: 0 });
    await engine.load(bundle);
    const cancel = new AbortController();
    const first = inferAll(engine, bundle, prompts, { onProgress: onceDecoding(() => cancel.abort()) });
    const second = inferAll(engine, bundle, others, { signal: cancel.signal });
    await t.rejects(second, { name: 'AbortError' });
    t.equal(await first, expected);
    t.equal(engine.status().restarts, 0, 'work that somebody wants is not killed for one that nobody wants');
  });

  t.test('canceled work that does not stop is killed with its process', async (t) => {
    const { engine, pids } = await startEngine(t, { cancelGraceMs: 20 });
    await engine.load(bundle);
    const signal = new AbortController();
    const work = inferAll(engine, bundle, others, {
      signal: signal.signal,
      onProgress: onceDecoding(() => signal.abort()),
    });
    // Waits behind the canceled one and is taken over by the next process.
    const next = inferAll(engine, bundle, prompts);
    await t.rejects(work, { name: 'AbortError' });
    t.equal(await next, expected);
    t.match(engine.status(), { state: 'ready', restarts: 1, bundles: [bundle.digest] });
    t.equal(pids.length, 2);
    t.notOk(isAlive(pids[0]!));
  });

  t.test('a finished decode that waits to be read is not lost to a cancel', async (t) => {
    const { engine, pids } = await startEngine(t, { cancelGraceMs: 0 });
    const finished = await engine.infer({ bundle, prompts, blocks: allTokens(bundle) });
    const cancel = new AbortController();
    const work = inferAll(engine, bundle, others, {
      signal: cancel.signal,
      onProgress: onceDecoding(() => cancel.abort()),
    });
    await t.rejects(work, { name: 'AbortError' });
    t.equal(await digestOf(finished), expected);
    t.equal(engine.status().restarts, 0);
    t.strictSame(pids.map(isAlive), [true]);
  });

  t.test('a deadline is a signal like any other', async (t) => {
    const work = inferAll(engine, bundle, prompts, { signal: AbortSignal.timeout(40) });
    await t.rejects(work, { name: 'TimeoutError' });
    t.equal(await inferAll(engine, bundle, prompts), expected);
  });

  t.test('a process that dies is replaced, and its work is done again', async (t) => {
    const { engine, pids } = await startEngine(t);
    await engine.load(bundle);
    const seen: InferenceProgress[] = [];
    const kill = onceDecoding(() => process.kill(pids[0]!, 'SIGKILL'));
    const states = new Set<string>();
    const digest = await inferAll(engine, bundle, prompts, {
      onProgress(progress) {
        states.add(engine.status().state);
        seen.push(progress);
        kill(progress);
      },
    });
    t.equal(digest, expected);
    t.match(engine.status(), { state: 'ready', restarts: 1, bundles: [bundle.digest] });
    const places = seen.map(({ stage, fraction }) => (stage === 'decoding' ? 1 : 0) + fraction);
    t.strictSame(
      places,
      [...places].sort((a, b) => a - b),
      'progress does not fall',
    );
    t.notOk(isAlive(pids[0]!));
  });

  t.test('until the new process has run every bundle, the engine is not ready', async (t) => {
    const { engine, pids, onLog } = await startEngine(t);
    await engine.load(bundle);
    const state = new Promise((resolve) => onLog('loading', () => resolve(engine.status())));
    process.kill(pids[0]!, 'SIGKILL');
    t.match(await state, { state: 'restarting', bundles: [] });
    t.equal(await inferAll(engine, bundle, prompts), expected);
    t.equal(engine.status().state, 'ready');
  });

  t.test('work that loses its process twice fails, and other work does not', async (t) => {
    const { engine, pids } = await startEngine(t, { batchWaitMs: 50 });
    await engine.load(bundle);
    const work = engine.infer(
      { bundle, prompts, blocks: allTokens(bundle) },
      {
        onProgress({ stage, fraction }) {
          if (stage === 'decoding' && fraction === 0) process.kill(pids.at(-1)!, 'SIGKILL');
        },
      },
    );
    const bystander = inferAll(engine, bundle, others);
    await t.rejects(work, {
      code: 'engine-lost',
      retryable: true,
      message: 'The inference process ended (SIGKILL).',
    });
    t.match(await bystander, /^[0-9a-f]{64}$/);
    t.match(engine.status(), { state: 'ready', restarts: 2 });
  });

  t.test('a bundle that takes the process with it twice is given up, the others come back', async (t) => {
    const { engine, onLog } = await startEngine(t, { restartDelayMs: 1 });
    await engine.load(bundle);
    let kills = 0;
    onLog('loading', (pid) => {
      if (kills++ < 2) process.kill(pid, 'SIGKILL');
    });
    await t.rejects(engine.load(stagedBundle(bundle)), { code: 'engine-lost', retryable: true });
    t.equal(await inferAll(engine, bundle, prompts), expected);
    t.match(engine.status(), { state: 'ready', restarts: 2, bundles: [bundle.digest] });
  });

  t.test('tokens that are being read are lost with the process', async (t) => {
    const { engine, pids } = await startEngine(t);
    const blocks = Array.from({ length: 1000 }, (_, start) => ({ start, count: 1 }));
    const inference = await engine.infer({ bundle, prompts, blocks });
    let read = 0;
    const reading = (async () => {
      for await (const _ of inference.tokens) if (++read === 1) process.kill(pids[0]!, 'SIGKILL');
    })();
    await Promise.all([reading.catch(() => {}), inferAll(engine, bundle, prompts)]);
    // What had arrived before the kill may have been everything; if not, it is an error and never an end.
    if (read < blocks.length) await t.rejects(reading, { code: 'engine-lost' });
    else await reading;

    const unread = await engine.infer({ bundle, prompts, blocks });
    process.kill(pids.at(-1)!, 'SIGKILL');
    await inferAll(engine, bundle, prompts);
    await t.rejects(digestOf(unread), { code: 'engine-lost' });
  });

  t.test('an engine whose process does not come up again gives up and says so', async (t) => {
    const { engine, pids, onLog } = await startEngine(t, { maxRestarts: 2, restartDelayMs: 1 });
    await engine.load(bundle);
    onLog('inference process started', (pid) => process.kill(pid, 'SIGKILL'));
    const work = inferAll(engine, bundle, prompts, {
      onProgress: onceDecoding(() => process.kill(pids[0]!, 'SIGKILL')),
    });
    await t.rejects(work, { code: 'engine-lost', message: /3 times in a row/ });
    t.equal(pids.length, 3, 'the first, and two in its place');
    t.match(engine.status(), { state: 'failed', error: /3 times in a row/, restarts: 2 });
    await t.rejects(inferAll(engine, bundle, prompts), { code: 'engine-lost' });
    await t.rejects(engine.load(bundle), { code: 'engine-lost' });
  });

  t.test('a bundle that does not run is refused with file and reason, and does no harm', async (t) => {
    const broken = join(await temporaryDirectory(t), 'bundle');
    await cp(bundle.directory, broken, { recursive: true });
    const damaged = (change: (manifest: Bundle['manifest']) => void) => ({
      ...variant(bundle, change),
      directory: broken,
    });
    await truncate(join(broken, 'encoder.onnx'), 5000);
    await truncate(join(broken, 'decoder.onnx.data'), 5000);
    const cases: [Bundle, RegExp][] = [
      [
        damaged((manifest) => {
          manifest.title = 'truncated';
        }),
        /^encoder\.onnx does not load: /,
      ],
      [
        damaged((manifest) => {
          manifest.encoder.file = 'missing.onnx';
        }),
        /^missing\.onnx does not load: .*File doesn't exist/,
      ],
      [
        variant(bundle, ({ encoder }) => {
          encoder.inputs.mask = 'no_such_input';
        }),
        /^encoder\.onnx failed: /,
      ],
      [
        variant(bundle, ({ decoder }) => {
          decoder.features.at(-1)![0] = 1591;
        }),
        /^decoder\.onnx gives \[1, 1590, 10, 194\] instead/,
      ],
      [
        variant(bundle, ({ condition }) => {
          condition.prompts = 8;
        }),
        /^decoder\.onnx failed: /,
      ],
      [
        variant(bundle, ({ tokenizer }) => {
          tokenizer.file = 'encoder.onnx';
        }),
        /^The tokenizer cannot be used: /,
      ],
      [
        variant(bundle, ({ condition }) => {
          condition.encoderTokens = 48;
        }),
        /64 tokens does not divide into slices of 48/,
      ],
      [slicedBundle(bundle, 'zero'), /attends to masked tokens/],
    ];
    for (const [candidate, message] of cases) {
      const request = {
        bundle: candidate,
        prompts: prompts.slice(0, candidate.manifest.condition.prompts),
        blocks: [],
      };
      const [loaded, inferred] = await Promise.allSettled([engine.load(candidate), engine.infer(request)]);
      t.match(loaded, { status: 'rejected', reason: { code: 'bundle-unloadable', message } });
      t.match(inferred, { status: 'rejected', reason: { code: 'bundle-unloadable', message } });
      t.notMatch((loaded as PromiseRejectedResult).reason.message, /\/|loradrop-inference/, 'no path');
    }
    const noData = {
      ...variant(bundle, (manifest) => {
        manifest.title = 'no weights';
      }),
      directory: broken,
    };
    await cp(join(bundle.directory, 'encoder.onnx'), join(broken, 'encoder.onnx'));
    await t.rejects(engine.load(noData), {
      code: 'bundle-unloadable',
      message: /^decoder\.onnx does not load: /,
    });
    t.equal(await inferAll(engine, bundle, prompts), expected);
    t.match(engine.status(), { state: 'ready', restarts: 0 });
    t.equal(pids.length, 1);
  });

  t.test('requests that make no condition are refused', async (t) => {
    await t.rejects(engine.infer({ bundle, prompts: prompts.slice(1), blocks: [] }), {
      code: 'prompts-unusable',
      message: 'The bundle makes a condition of 16 prompts, not of 15.',
    });
    for (const block of [
      { start: -1, count: 1 },
      { start: 1590, count: 1 },
      { start: 0, count: 1591 },
      { start: 0.5, count: 1 },
      { start: 0, count: Number.NaN },
    ]) {
      await t.rejects(engine.infer({ bundle, prompts, blocks: [block] }), RangeError);
    }
  });

  t.test('closing ends the process, its work, and nothing twice', async (t) => {
    const { engine, pids } = await startEngine(t);
    await engine.load(bundle);
    const unread = await engine.infer({ bundle, prompts, blocks: allTokens(bundle) });
    let closing: Promise<unknown> | undefined;
    let loading: Promise<void> | undefined;
    const running = inferAll(engine, bundle, prompts, {
      onProgress: onceDecoding(() => {
        loading = engine.load(stagedBundle(bundle));
        closing = Promise.all([engine.close(), engine.close()]);
      }),
    });
    const waiting = inferAll(engine, bundle, others);
    await t.rejects(running, { code: 'engine-closed' });
    await t.rejects(waiting, { code: 'engine-closed' });
    await t.rejects(loading!, { code: 'engine-closed' });
    await t.rejects(digestOf(unread), { code: 'engine-closed' });
    await closing;
    await engine.close();
    t.notOk(isAlive(pids[0]!));
    t.equal(engine.status().state, 'closed');
    await t.rejects(engine.load(bundle), { code: 'engine-closed' });
    await t.rejects(inferAll(engine, bundle, prompts), { code: 'engine-closed' });
  });
});

test('when the service is killed, its child ends by itself', async (t) => {
  const service = fork(join(import.meta.dirname, 'engine-alone.ts'), { execArgv: [] });
  const pid = await new Promise<number>((resolve) =>
    service.once('message', (message) => resolve(Number(message))),
  );
  t.ok(isAlive(pid));
  service.kill('SIGKILL');
  while (isAlive(pid)) await setTimeout(10);
});

test('a device that does not work starts no engine', async (t) => {
  await t.rejects(startEngine(t, { device: 'cuda:99' }), {
    code: 'device-unavailable',
    message: /^cuda:99 cannot be used/,
  });
  await t.rejects(startEngine(t, { device: 'tpu' }), { code: 'device-unavailable' });
});

function bytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

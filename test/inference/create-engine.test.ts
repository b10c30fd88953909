import { cp, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextImmediate } from 'node:timers/promises';
import { test } from 'tap';
import { adapterBytes } from '../../src/inference/adapter-bytes.ts';
import type { InferenceProgress } from '../../src/inference/engine.ts';
import type { Bundle } from '../../src/models/bundle.ts';
import {
  slicedBundle,
  somePrompts,
  stagedBundle,
  temporaryDirectory,
  untrainedBundle,
  variant,
} from './bundles.ts';
import { digestOf, inferAll, isAlive, onceDecoding, startEngine } from './engines.ts';

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

    const doubled = prompts.map((_, index) => prompts[Math.floor(index / 2)]!);
    const askedAtMs = performance.now();
    const first = await engine.infer({ bundle, prompts: doubled, dtype: 'bf16' });
    const elapsedMs = performance.now() - askedAtMs;
    t.match(first, { promptsCached: 0, promptsEncoded: 8, device: engine.device });
    const { batchingMs, embeddingMs, decodingMs } = first.timings;
    t.ok(batchingMs >= 0 && embeddingMs > 0 && decodingMs > 0);
    t.ok(batchingMs + embeddingMs + decodingMs <= elapsedMs, 'nothing is counted twice');
    await digestOf(first);
    const second = await engine.infer({ bundle, prompts, dtype: 'bf16' });
    t.match(second, { promptsCached: 8, promptsEncoded: 8 });
    await digestOf(second);
    // What the process says of itself comes when it is free again, which it has to be for the next request.
    await inferAll(engine, bundle, prompts);
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
    t.equal(decoding.length, staged.manifest.generator.stages.length + 1);
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

  t.test('bytes are as many as the layout has in the format, and reading may stop early', async (t) => {
    const { layout } = bundle.manifest;
    for (const dtype of ['f32', 'f16', 'bf16'] as const) {
      const inference = await engine.infer({ bundle, prompts, dtype });
      let bytes = 0;
      for await (const piece of inference.pieces) bytes += piece.length;
      t.equal(bytes, adapterBytes(layout, dtype), dtype);
    }
    const early = await engine.infer({ bundle, prompts, dtype: 'f32' });
    let pieces = 0;
    for await (const piece of early.pieces) {
      pieces += 1;
      t.ok(piece.length < adapterBytes(layout, 'f32'));
      break;
    }
    t.equal(pieces, 1);
    const unread = await engine.infer({ bundle, prompts, dtype: 'f32' });
    unread.release();
    unread.release();
    await t.rejects(digestOf(unread), { message: /released/ });
    t.equal(await inferAll(engine, bundle, prompts), expected, 'the engine goes on');
  });

  t.test('the event loop turns while the decoder runs', async (t) => {
    const turned = Promise.withResolvers<void>();
    const turnLoop = async () => {
      // The decode cannot end before the process is continued, and that takes turns of this event loop.
      process.kill(pids[0]!, 'SIGSTOP');
      for (let turn = 0; turn < 10; turn++) await nextImmediate();
      process.kill(pids[0]!, 'SIGCONT');
    };
    const work = inferAll(engine, bundle, prompts, {
      onProgress: onceDecoding(() => turnLoop().then(turned.resolve, turned.reject)),
    });
    await turned.promise;
    t.equal(await work, expected);
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
    const seen: number[] = [];
    const work = inferAll(engine, staged, prompts, {
      signal: cancel.signal,
      onProgress: ({ stage, fraction }) => {
        if (stage !== 'decoding') return;
        seen.push(fraction);
        process.kill(pids[0]!, 'SIGSTOP');
        cancel.abort();
      },
    });
    // The process does nothing until it is continued, so a caller that waited for it would wait forever.
    await t.rejects(work, { name: 'AbortError' });
    process.kill(pids[0]!, 'SIGCONT');
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

  t.test('a deadline is a signal like any other', async (t) => {
    const work = inferAll(engine, bundle, prompts, { signal: AbortSignal.timeout(40) });
    await t.rejects(work, { name: 'TimeoutError' });
    t.equal(await inferAll(engine, bundle, prompts), expected);
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
        variant(bundle, ({ layout }) => {
          layout.layers = 31;
        }),
        /^matrices\.00\.onnx failed: /,
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
        dtype: 'bf16' as const,
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
    await t.rejects(engine.infer({ bundle, prompts: prompts.slice(1), dtype: 'bf16' }), {
      code: 'prompts-unusable',
      message: 'The bundle makes a condition of 16 prompts, not of 15.',
    });
  });

  t.test('closing ends the process, its work, and nothing twice', async (t) => {
    const { engine, pids } = await startEngine(t);
    await engine.load(bundle);
    const unread = await engine.infer({ bundle, prompts, dtype: 'bf16' });
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
    await closing;
    await t.rejects(digestOf(unread));
    await engine.close();
    t.notOk(isAlive(pids[0]!));
    t.equal(engine.status().state, 'closed');
    await t.rejects(engine.load(bundle), { code: 'engine-closed' });
    await t.rejects(inferAll(engine, bundle, prompts), { code: 'engine-closed' });
  });
});

test('a device that does not work starts no engine', async (t) => {
  await t.rejects(startEngine(t, { device: 'cuda:99' }), {
    code: 'device-unavailable',
    message: /^cuda:99 cannot be used/,
  });
  await t.rejects(startEngine(t, { device: 'tpu' }), { code: 'device-unavailable' });
});

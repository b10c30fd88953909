import { fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { test } from 'tap';
import type { InferenceProgress } from '../../src/inference/engine.ts';
import { somePrompts, stagedBundle, untrainedBundle } from './bundles.ts';
import { digestOf, inferAll, isAlive, onceDecoding, startEngine } from './engines.ts';

test('with the untrained bundle', async (t) => {
  const bundle = await untrainedBundle(t);
  const prompts = somePrompts(bundle, 'a');
  const others = somePrompts(bundle, 'b');
  const { engine: undisturbed } = await startEngine(t);
  const expected = await inferAll(undisturbed, bundle, prompts);
  await undisturbed.close();

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

  t.test('a finished adapter that waits to be read is not lost to a cancel', async (t) => {
    const { engine, pids } = await startEngine(t, { cancelGraceMs: 0 });
    const finished = await engine.infer({ bundle, prompts, dtype: 'bf16' });
    const cancel = new AbortController();
    const work = inferAll(engine, bundle, others, {
      signal: cancel.signal,
      onProgress: onceDecoding(() => cancel.abort()),
    });
    await t.rejects(work, { name: 'AbortError' });
    t.equal(await digestOf(finished), expected);
    t.ok(pids.length >= 1);
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
      { bundle, prompts, dtype: 'bf16' },
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

  t.test('what a process has written is there without it', async (t) => {
    const { engine, pids } = await startEngine(t);
    const inference = await engine.infer({ bundle, prompts, dtype: 'bf16' });
    // The engine answers this only when the process has done with the first.
    await inferAll(engine, bundle, others);
    process.kill(pids[0]!, 'SIGKILL');
    const again = await inferAll(engine, bundle, prompts);
    t.equal(await digestOf(inference), again, 'though another process wrote to the same file meanwhile');
  });

  t.test('what a process has not written ends in an error, and never in fewer bytes', async (t) => {
    const { engine, pids } = await startEngine(t);
    const inference = await engine.infer({ bundle, prompts, dtype: 'f32' });
    process.kill(pids[0]!, 'SIGKILL');
    await inferAll(engine, bundle, others);
    const bytes = await digestOf(inference).then(
      () => 'all of it had been written',
      (error: { code: string }) => error.code,
    );
    t.match(bytes, /^(engine-lost|all of it had been written)$/);
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

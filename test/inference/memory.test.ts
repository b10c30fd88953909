import { readFile } from 'node:fs/promises';
import { test } from 'tap';
import { bundleMemory, PROCESS_BYTES } from '../../src/inference/bundle-memory.ts';
import { somePrompts, stagedBundle, untrainedBundle, variant } from './bundles.ts';
import { inferAll, startEngine } from './engines.ts';

const PROMPT_CACHE_BYTES = 1 << 26;

test('with the untrained bundle', async (t) => {
  const bundle = await untrainedBundle(t);
  const prompts = somePrompts(bundle, 'a');
  const needed = bundleMemory(bundle.manifest, { encodeTokenBudget: 8192 });
  const enough = PROCESS_BYTES + PROMPT_CACHE_BYTES + needed;

  t.test('a bundle that would not fit is refused before anything of it is loaded', async (t) => {
    const { engine, pids } = await startEngine(t, { memoryLimitBytes: enough - 2 ** 20 });
    const before = engine.status();
    const mebibytes = Math.round(needed / 2 ** 20);
    const refusal = {
      code: 'insufficient-memory',
      message: `The bundle needs about ${mebibytes} MiB of memory, and there are ${mebibytes - 1} MiB for it.`,
      retryable: true,
    };
    await t.rejects(engine.load(bundle), refusal);
    await t.rejects(inferAll(engine, bundle, prompts), refusal);
    t.match(engine.status(), {
      state: 'ready',
      bundles: [],
      unloadable: [{ digest: bundle.digest, reason: refusal.message }],
    });
    t.ok(engine.status().peakResidentBytes < before.peakResidentBytes + needed / 4, 'nothing was loaded');
    t.equal(pids.length, 1);
  });

  t.test('what is loaded already counts, also for a process that takes over', async (t) => {
    const { engine } = await startEngine(t, { memoryLimitBytes: enough });
    await engine.load(bundle);
    const another = variant(bundle, (manifest) => {
      manifest.title = 'another';
    });
    await t.rejects(engine.load(another), { code: 'insufficient-memory', message: /there are 0 MiB for it/ });
    t.match(engine.status(), { bundles: [bundle.digest], unloadable: [{ digest: another.digest }] });
  });

  t.test('the memory of a process that died is free for the next', async (t) => {
    const { engine, pids } = await startEngine(t, { memoryLimitBytes: enough });
    const expected = await inferAll(engine, bundle, prompts);
    process.kill(pids[0]!, 'SIGKILL');
    t.equal(await inferAll(engine, bundle, prompts), expected);
    t.match(engine.status(), { state: 'ready', restarts: 1, bundles: [bundle.digest], unloadable: [] });
  });

  t.test('without a limit the machine’s memory decides', async (t) => {
    const { engine } = await startEngine(t);
    await engine.load(bundle);
    const enormous = variant(bundle, ({ generator }) => {
      generator.memoryBytes = 2 ** 52;
    });
    await t.rejects(engine.load(enormous), {
      code: 'insufficient-memory',
      message: /about 4294967\d{3} MiB/,
    });
  });

  t.test('the estimate is what is used, give or take', async (t) => {
    const { engine } = await startEngine(t);
    for (const label of ['a', 'b']) await inferAll(engine, bundle, somePrompts(bundle, label));
    await engine.load(bundle);
    const { peakResidentBytes, residentBytes } = engine.status();
    t.comment(`estimate ${enough}, peak ${peakResidentBytes}`);
    t.ok(peakResidentBytes >= residentBytes);
    t.ok(peakResidentBytes < enough, 'not more than was claimed');
    t.ok(peakResidentBytes > enough / 4, 'and not a small part of it');
  });

  t.test(
    'its process has the given environment, and glibc told to keep what is freed',
    {
      skip: process.platform !== 'linux' && 'there is no /proc',
    },
    async (t) => {
      const { pids } = await startEngine(t, { environment: { HANDED: 'on', MALLOC_MMAP_MAX_: '9' } });
      const environment = (await readFile(`/proc/${pids[0]}/environ`, 'utf8')).split('\0');
      t.ok(environment.includes('HANDED=on'));
      t.ok(environment.includes('MALLOC_MMAP_MAX_=0'));
      t.notOk(environment.includes('MALLOC_MMAP_MAX_=9'));
    },
  );

  t.test('a staged decoder that loads and does not run is told at its first decode', async (t) => {
    const { engine, pids } = await startEngine(t);
    const broken = stagedBundle(
      variant(bundle, ({ generator }) => {
        // The stages in the wrong order.
        generator.stages.reverse();
      }),
    );
    await engine.load(broken);
    const refusal = {
      code: 'bundle-unloadable',
      message: /^decoder\.stage-02\.onnx failed: /,
    };
    await t.rejects(inferAll(engine, broken, prompts), refusal);
    t.match(engine.status().unloadable, [{ digest: broken.digest, reason: refusal.message }]);
    await inferAll(engine, stagedBundle(bundle), prompts);
    t.match(engine.status(), { state: 'ready', restarts: 0 });
    t.equal(pids.length, 1);
  });
});

import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { importCheckpoint } from '../../src/models/import/import-checkpoint.ts';
import { openModelRegistry } from '../../src/models/registry.ts';
import { importSmallBundle } from './small-bundle.ts';

test('the bundles of a directory, the broken ones apart', async (t) => {
  const root = t.testdir();
  const { bundle: tiny, options } = await importSmallBundle(root);
  const directory = join(root, 'bundles');

  const alone = await openModelRegistry({ directory });
  t.same(alone.list(), [tiny]);
  t.same(alone.get('tiny'), tiny);
  t.same(alone.default(), tiny, 'the only one is the default');
  t.same(alone.problems, []);
  t.throws(() => alone.get('other'), { code: 'model-not-found' });

  const other = await importCheckpoint({ ...options, id: 'other', out: join(directory, 'zzz') });
  await cp(tiny.directory, join(directory, 'twin'), { recursive: true });
  await cp(tiny.directory, join(directory, 'damaged'), { recursive: true });
  await rm(join(directory, 'damaged/tokenizer.json'));
  await cp(tiny.directory, join(directory, '.half-imported'), { recursive: true });
  await mkdir(join(directory, 'no-bundle'));
  await writeFile(join(directory, 'notes.txt'), '');

  const registry = await openModelRegistry({ directory, defaultId: 'tiny' });
  t.same(registry.list(), [other, tiny], 'sorted by id');
  t.same(registry.default(), tiny);
  t.same(registry.problems, [
    { name: 'damaged', reason: 'tokenizer.json is missing.' },
    { name: 'twin', reason: 'Another bundle has the id tiny already.' },
  ]);
  t.equal((await openModelRegistry({ directory })).default(), undefined, 'none of two is the default');

  const absent = await openModelRegistry({ directory, defaultId: 'absent' });
  t.equal(absent.default(), undefined);
  t.match(absent.problems.at(-1), { name: 'absent', reason: /default model/ });
  await t.rejects(openModelRegistry({ directory, signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('a superseded bundle is found by its digest alone, beside the one that has its id now', async (t) => {
  const root = t.testdir();
  const { bundle: first, options } = await importSmallBundle(root);
  const directory = join(root, 'fleet');
  await cp(first.directory, join(directory, 'superseded', 'first'), { recursive: true });
  await cp(first.directory, join(directory, 'superseded', 'damaged'), { recursive: true });
  await rm(join(directory, 'superseded', 'damaged', 'tokenizer.json'));
  const second = await importCheckpoint({
    ...options,
    description: 'The second.',
    out: join(directory, 'second'),
  });
  t.not(second.digest, first.digest);

  const registry = await openModelRegistry({ directory });
  t.same(registry.list(), [second]);
  t.equal(registry.get('tiny').digest, second.digest);
  t.equal(registry.default()?.digest, second.digest, 'it is the only one that takes jobs');
  t.equal(registry.withDigest(second.digest), registry.get('tiny'));
  t.match(registry.withDigest(first.digest), { directory: join(directory, 'superseded', 'first') });
  t.equal(registry.withDigest('0'.repeat(64)), undefined);
  t.same(registry.problems, [{ name: 'superseded/damaged', reason: 'tokenizer.json is missing.' }]);
});

test('manifests alone say what models there are', async (t) => {
  const root = t.testdir();
  const { bundle } = await importSmallBundle(root);
  const directory = join(root, 'manifests');
  await mkdir(join(directory, 'tiny'), { recursive: true });
  await cp(join(bundle.directory, 'bundle.json'), join(directory, 'tiny', 'bundle.json'));
  const registry = await openModelRegistry({ directory, manifestsOnly: true });
  t.match(registry.list(), [{ digest: bundle.digest, manifest: bundle.manifest }]);
  t.match((await openModelRegistry({ directory })).problems, [{ name: 'tiny', reason: /is missing/ }]);
});

test('a bundle from elsewhere stands in where the directory has none, and only there', async (t) => {
  const root = t.testdir({ empty: { notes: {} } });
  const { bundle: tiny } = await importSmallBundle(root);
  const fallback = tiny.directory;
  for (const name of ['empty', 'absent']) {
    const registry = await openModelRegistry({ directory: join(root, name), fallback });
    t.same([registry.list(), registry.default(), registry.problems], [[tiny], tiny, []], name);
  }
  await cp(fallback, join(root, 'own', 'damaged'), { recursive: true });
  await rm(join(root, 'own', 'damaged', 'tokenizer.json'));
  const own = await openModelRegistry({ directory: join(root, 'own'), fallback });
  t.same(own.list(), [], 'a broken bundle of the operator’s is not replaced');
  t.match(own.problems, [{ name: 'damaged' }]);
  const gone = await openModelRegistry({
    directory: join(root, 'empty'),
    fallback: join(root, 'own', 'damaged'),
  });
  t.match(gone.problems, [{ name: 'damaged', reason: /tokenizer\.json is missing/ }]);
});

test('no directory is an empty registry', async (t) => {
  const registry = await openModelRegistry({ directory: join(t.testdir(), 'nowhere') });
  t.same(registry.list(), []);
  t.equal(registry.default(), undefined);
  t.same(registry.problems, []);
});

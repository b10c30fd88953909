import { cp, mkdir, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import type { Bundle } from '../../../src/models/bundle.ts';
import { importCheckpoint } from '../../../src/models/import/import-checkpoint.ts';
import { openModelRegistry } from '../../../src/models/registry.ts';
import { placeBundles } from '../../../src/models/sources/place-bundles.ts';
import { importSmallBundle } from '../small-bundle.ts';

test('a bundles directory is made to show bundles of a cache', async (t) => {
  const root = t.testdir({ own: {} });
  const { bundle: first, options } = await importSmallBundle(root);
  const cache = join(root, 'cache');
  const keep = async (bundle: Bundle): Promise<Bundle> => {
    await cp(bundle.directory, join(cache, bundle.digest), { recursive: true });
    return { ...bundle, directory: join(cache, bundle.digest) };
  };
  const out = (name: string) => ({ ...options, out: join(root, name) });
  const v1 = await keep(first);
  const v2 = await keep(await importCheckpoint({ ...out('v2'), description: 'The second.' }));
  const other = await keep(await importCheckpoint({ ...out('other'), id: 'other' }));
  const directory = join(root, 'bundles-of-a-pod');

  await placeBundles(directory, { current: [v1, other], only: true });
  t.same((await readdir(directory)).toSorted(), ['other', 'tiny']);
  await placeBundles(directory, { current: [v2], superseded: [v1], only: true });
  t.same((await readdir(directory)).toSorted(), ['superseded', 'tiny']);
  t.equal(await readlink(join(directory, 'tiny')), `../cache/${v2.digest}`, 'wherever the two are mounted');
  const registry = await openModelRegistry({ directory });
  t.match(registry.problems, []);
  t.equal(registry.get('tiny').digest, v2.digest);
  t.match(registry.withDigest(v1.digest), { digest: v1.digest });

  await placeBundles(directory, { current: [other] });
  t.same((await readdir(directory)).toSorted(), ['other', 'superseded', 'tiny'], 'one more');
  t.same((await readdir(join(directory, 'superseded'))).length, 1);
  await t.rejects(placeBundles(directory, { current: [v1, v2] }), { code: 'repository-unusable' });
  await placeBundles(directory, { current: [], only: true });
  t.same(await readdir(directory), ['superseded']);
  t.same(await readdir(join(directory, 'superseded')), []);

  await mkdir(join(directory, 'tiny'));
  await t.rejects(placeBundles(directory, { current: [v1], only: true }), {
    code: 'repository-unusable',
    message: /has a tiny of its own/,
  });
});

import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { openBundle } from '../../../src/models/open.ts';
import {
  type BundleSource,
  directorySource,
  parseBundleAddress,
} from '../../../src/models/sources/bundle-source.ts';
import { fetchBundle } from '../../../src/models/sources/fetch-bundle.ts';
import { webSource } from '../../../src/models/sources/web-source.ts';
import { importSmallBundle } from '../small-bundle.ts';

async function setUp(t: Test) {
  const root = t.testdir();
  const { bundle } = await importSmallBundle(root);
  const cacheDirectory = join(root, 'cache');
  const origin = directorySource(bundle.directory);
  const fetchIt = (source: BundleSource = origin, more: Partial<Parameters<typeof fetchBundle>[1]> = {}) =>
    fetchBundle(async () => source, { cacheDirectory, retryDelayMs: 1, ...more });
  return { root, bundle, cacheDirectory, origin, fetchIt };
}

/** Files of a directory over HTTP. `cuts` are the bytes after which connections break, one after the other. */
async function serve(t: Test, directory: string, { ranges = true, cuts = [] as number[] } = {}) {
  const seen: (string | undefined)[] = [];
  const server = createServer(async ({ url = '', headers }, response) => {
    seen.push(headers.range);
    const bytes = await readFile(join(directory, url.slice('/b/'.length))).catch(() => undefined);
    if (!bytes) return response.writeHead(url.endsWith('busy') ? 503 : 404).end();
    const start = ranges ? Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0) : 0;
    const body = bytes.subarray(start);
    const range = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    response.writeHead(ranges ? 206 : 200, { 'content-length': body.length, ...(ranges && range) });
    const cut = url.includes('data') ? cuts.shift() : undefined;
    if (cut === undefined) return response.end(body);
    return response.write(body.subarray(0, cut), () => response.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/b/`), seen };
}

test('a bundle comes into the cache whole, once', async (t) => {
  const { bundle, cacheDirectory, fetchIt } = await setUp(t);
  const first = await fetchIt();
  t.equal(first.cached, false);
  t.match(first.bundle, { digest: bundle.digest, directory: join(cacheDirectory, bundle.digest) });
  t.equal((await openBundle(first.bundle.directory)).digest, bundle.digest);
  t.same(await readdir(cacheDirectory), [bundle.digest], 'nothing else is left');
  t.match(await fetchIt(), { cached: true, bundle: { digest: bundle.digest } });

  const nothing: BundleSource = {
    read: () => {
      throw new Error('read');
    },
  };
  t.match(await fetchIt(nothing, { digest: bundle.digest }), { cached: true }, 'its origin is not asked');
  await t.rejects(fetchIt(undefined, { digest: '0'.repeat(64) }), { code: 'download-damaged' });
  await cp(join(bundle.directory, 'bundle.json'), join(cacheDirectory, '1'.repeat(64), 'bundle.json'));
  await t.rejects(fetchIt(nothing, { digest: '1'.repeat(64) }), { code: 'bundle-invalid' });
});

test('manifests alone', async (t) => {
  const { bundle, cacheDirectory, fetchIt } = await setUp(t);
  const { bundle: known } = await fetchIt(undefined, { manifestOnly: true });
  t.same(known.manifest, bundle.manifest);
  t.same(await readdir(known.directory), ['bundle.json']);
  t.match(await fetchIt(undefined, { manifestOnly: true }), { cached: true });
  t.match(await fetchIt(), { cached: false }, 'they are not taken for the bundle');
  t.same((await readdir(cacheDirectory)).toSorted(), [bundle.digest, 'manifests']);
});

test('several that fetch the same at once all succeed', async (t) => {
  const { bundle, cacheDirectory, fetchIt } = await setUp(t);
  const all = await Promise.all(Array.from({ length: 6 }, () => fetchIt()));
  t.same(
    all.map(({ bundle: { digest } }) => digest),
    all.map(() => bundle.digest),
  );
  t.ok(all.some(({ cached }) => !cached));
  await openBundle(join(cacheDirectory, bundle.digest));
  t.same(await readdir(cacheDirectory), [bundle.digest]);
});

test('damage is refused, and what broke off is used again', async (t) => {
  const { root, bundle, cacheDirectory, fetchIt } = await setUp(t);
  const damaged = join(root, 'damaged');
  await cp(bundle.directory, damaged, { recursive: true });
  const { size } = await stat(join(damaged, 'tokenizer.json'));
  await writeFile(join(damaged, 'tokenizer.json'), Buffer.alloc(size, 'x'));
  await t.rejects(fetchIt(directorySource(damaged)), {
    code: 'download-damaged',
    message: /tokenizer\.json/,
  });
  await truncate(join(damaged, 'tokenizer.json'), size - 1);
  await t.rejects(fetchIt(directorySource(damaged)), { code: 'source-unreachable' });
  await writeFile(join(damaged, 'tokenizer.json'), Buffer.alloc(size + 1, 'x'));
  await t.rejects(fetchIt(directorySource(damaged)), { code: 'source-unusable' });
  await rm(join(damaged, 'tokenizer.json'));
  await t.rejects(fetchIt(directorySource(damaged)), { code: 'repository-unusable' });
  await t.rejects(fetchIt(undefined, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  t.same(await readdir(cacheDirectory), [`.arriving_${bundle.digest}`], 'nothing of it shows');
  await fetchIt();
  t.same(await readdir(cacheDirectory), [bundle.digest]);
});

test('over the web: broken connections are taken up where they broke', async (t) => {
  const { root, bundle, fetchIt } = await setUp(t);
  for (const ranges of [true, false]) {
    const { url, seen } = await serve(t, bundle.directory, { ranges, cuts: [1000, 500] });
    const cacheDirectory = join(root, `web-${ranges}`);
    t.match(await fetchIt(webSource(url), { cacheDirectory }), { bundle: { digest: bundle.digest } });
    t.ok(
      seen.some((range) => range !== 'bytes=0-'),
      'it asked for a rest',
    );
  }
  const { url } = await serve(t, join(root, 'nowhere'));
  await t.rejects(fetchIt(webSource(url)), {
    code: 'source-unusable',
    message: /answered 404 for bundle\.json/,
  });
  const read = async (name: string) => {
    for await (const _chunk of webSource(url).read(name, { fromByte: 0 }));
  };
  await t.rejects(read('busy'), { code: 'source-unreachable', retryable: true });
  await t.rejects(fetchIt(webSource(new URL('http://127.0.0.1:1/'))), { code: 'source-unreachable' });
});

test('a manifest that is none, or too large, is no bundle', async (t) => {
  const { root, fetchIt } = await setUp(t);
  const place = join(root, 'odd');
  await mkdir(place);
  await writeFile(join(place, 'bundle.json'), '[]');
  await t.rejects(fetchIt(directorySource(place)), { code: /^bundle-/ });
  await writeFile(join(place, 'bundle.json'), Buffer.alloc(64 << 20, ' '));
  await t.rejects(fetchIt(directorySource(place)), { code: 'bundle-invalid', message: /is larger than/ });
});

test('addresses', async (t) => {
  const digest = 'ab'.repeat(32);
  const kinds = {
    'hf://lab/generator@v2': { kind: 'hub', hub: { repository: 'lab/generator', revision: 'v2' } },
    'https://models.example/yes-no/': { kind: 'web', url: new URL('https://models.example/yes-no/') },
    's3://models/yes-no': { kind: 's3', url: 's3://models/yes-no' },
    'file:///srv/yes%20no': { kind: 'directory', path: '/srv/yes no' },
    '/srv/yes-no': { kind: 'directory', path: '/srv/yes-no' },
  };
  for (const [text, place] of Object.entries(kinds)) {
    t.match(parseBundleAddress(text), { place });
    t.match(parseBundleAddress(`${text}@sha256:${digest}`), { place, digest });
  }
  t.match(parseBundleAddress(`http://models.example/b@sha256:${digest}`), { place: { kind: 'web' }, digest });
  for (const text of [
    'http://models.example/b',
    'ftp://models.example/b',
    'https://user:pass@models.example/b',
    'https://models.example/b?signature=x',
    'hf://nothing',
    'https://',
  ]) {
    t.throws(() => parseBundleAddress(text), { code: 'repository-unusable' }, text);
  }
});

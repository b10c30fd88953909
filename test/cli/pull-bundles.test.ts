import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { test } from 'tap';
import { importCheckpoint } from '../../src/models/import/import-checkpoint.ts';
import { openModelRegistry } from '../../src/models/registry.ts';
import { CHILD_ENVIRONMENT } from '../helpers/child-environment.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startVersitygw,
  TEST_BUCKET,
} from '../helpers/object-storage.ts';
import { type ServedFile, startHub } from '../models/hub-server.ts';
import { importSmallBundle } from '../models/small-bundle.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

async function pull(args: readonly string[], environment: Record<string, string>) {
  const child = spawn(process.execPath, [main, 'models', 'pull', ...args], {
    env: { ...CHILD_ENVIRONMENT, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [[code], out, err] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  return { code: code as number, out, err };
}

test('without an address the bundles directory is made to have what the settings name', {
  timeout: 120_000,
}, async (t) => {
  const root = t.testdir();
  const { bundle: v1, options } = await importSmallBundle(root);
  const v2 = await importCheckpoint({ ...options, description: 'The second.', out: join(root, 'v2') });
  const served: Record<string, ServedFile> = {};
  for (const name of await readdir(v2.directory)) {
    served[name] = { content: await readFile(join(v2.directory, name)), large: name.includes('onnx') };
  }
  const hub = await startHub(served);
  t.teardown(() => hub.close());
  const directory = join(root, 'pod');
  const environment = {
    BUNDLES_DIR: directory,
    BUNDLE_CACHE_DIR: join(root, 'shared'),
    HF_ENDPOINT: hub.url,
  };

  const none = await pull([], environment);
  t.match(none, { code: 0, out: /nothing to pull/ });

  const before = await pull([], { ...environment, BUNDLES: v1.directory });
  t.match(before, { code: 0, out: `${v1.digest}` });
  t.equal((await openModelRegistry({ directory })).get('tiny').digest, v1.digest);

  // The upgrade: the new one from a Hub, the earlier one from the cache, since its origin is gone by then.
  await rename(v1.directory, join(root, 'gone'));
  const upgrade = {
    ...environment,
    BUNDLES: `hf://${hub.repository}@main`,
    SUPERSEDED_BUNDLES: `${v1.directory}@sha256:${v1.digest}`,
  };
  for (const how of [/fetched, bundle verified/, /in the cache already/]) {
    const { code, out, err } = await pull([], upgrade);
    t.equal(code, 0, err);
    t.match(out, how);
    const registry = await openModelRegistry({ directory });
    t.equal(registry.get('tiny').digest, v2.digest);
    t.ok(registry.withDigest(v1.digest), 'the earlier one is there for its jobs');
    t.same(registry.problems, []);
  }

  const api = { ...upgrade, BUNDLES_DIR: join(root, 'api'), BUNDLE_CACHE_DIR: join(root, 'api-cache') };
  const missing = await pull(['--manifests'], api);
  t.match(missing, { code: 1, err: /\[repository-unusable\]/ });
  t.match(await pull(['--manifests'], { ...api, SUPERSEDED_BUNDLES: '' }), { code: 0, out: v2.digest });
  const seen = await openModelRegistry({ directory: api.BUNDLES_DIR, manifestsOnly: true });
  t.equal(seen.get('tiny').digest, v2.digest);
  t.match(await pull(['--out', 'x', '/srv/b'], environment), { code: 1, err: /go with an hf:\/\/ address/ });
});

test('a bundle from object storage', { timeout: 120_000 }, async (t) => {
  const server = await startVersitygw(t);
  if (!server) return;
  const root = t.testdir();
  const { bundle } = await importSmallBundle(root);
  const client = objectStorageClient(server.port);
  t.teardown(() => client.destroy());
  for (const name of await readdir(bundle.directory)) {
    const Body = createReadStream(join(bundle.directory, name));
    await client.send(
      new PutObjectCommand({
        Bucket: TEST_BUCKET,
        Key: `models/tiny/${name}`,
        Body,
        ContentLength: (await readFile(join(bundle.directory, name))).length,
      }),
    );
  }
  const environment = {
    ...objectStorageEnvironment(server.port),
    S3_FORCE_PATH_STYLE: 'true',
    BUNDLES_DIR: join(root, 'pod'),
  };
  const { code, out, err } = await pull([`s3://${TEST_BUCKET}/models/tiny`], environment);
  t.equal(code, 0, err);
  t.match(out, `fetched, bundle verified, digest ${bundle.digest}`);
  t.equal(
    (await openModelRegistry({ directory: environment.BUNDLES_DIR })).get('tiny').digest,
    bundle.digest,
  );
  t.match(await pull([`s3://${TEST_BUCKET}/models/none`], environment), {
    code: 1,
    err: /\[store-address-invalid\]/,
  });
});

/** The Hub view read by the clients that it is for, unmodified, over a connection and with a key. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import {
  downloadFile,
  fileDownloadInfo,
  fileExists,
  listFiles,
  modelInfo,
  snapshotDownload,
} from '@huggingface/hub';
import { type Test, test } from 'tap';
import { peftConfig } from '../../src/adapter/peft-config.ts';
import { writeSafetensors } from '../../src/adapter/safetensors.ts';
import { sha256 } from '../../src/base/digest.ts';
import { blobId } from '../../src/hub-view/git-objects.ts';
import { commitOf } from '../../src/store/commit.ts';
import { findProgram } from '../helpers/services.ts';
import { trainingPython } from '../helpers/training.ts';
import { startApi } from '../http/start-api.ts';
import { patternBytes } from '../suites/store-samples.ts';
import { publishAdapter, readerOf } from './hub-samples.ts';

const run = promisify(execFile);
/** More than clients read at once: Python's reads 10 MB before it counts them as received. */
const LARGE = randomBytes(24_000_000);
const OLD = patternBytes(2_000, 1);
const REPOSITORY = 'team-a/science';

/** A service with a repository of two commits, the older one first, and another tenant's of the same name. */
async function startHub(t: Test) {
  const { key, authenticate } = readerOf('team-a');
  const api = await startApi(t, { work: false, services: { authenticate } });
  const store = api.store.all.of('team-a');
  const old = await publishAdapter(store, 'old', { weights: OLD });
  const large = await publishAdapter(store, 'large', { weights: LARGE });
  await store.names.set('science', old);
  await store.names.set('science', large);
  const others = api.store.all.of('team-b');
  await others.names.set('science', await publishAdapter(others, 'x'));
  return { store, key, old, large, url: await api.listen() };
}

async function makeFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'loradrop-hub-client-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a Python script of this folder in an empty one, as a client with a key. */
async function runPython(
  t: Test,
  python: string,
  args: readonly [string, ...string[]],
  { url, key }: { url: string; key: string },
): Promise<Record<string, unknown>> {
  const [script, ...rest] = args;
  const cwd = await makeFolder(t);
  const { stdout } = await run(python, [join(import.meta.dirname, script), ...rest], {
    cwd,
    env: {
      ...process.env,
      HF_ENDPOINT: url,
      HF_TOKEN: key,
      HF_HOME: join(cwd, 'home'),
      HF_HUB_DISABLE_PROGRESS_BARS: '1',
      HF_HUB_DISABLE_TELEMETRY: '1',
    },
  });
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Says loudly that a client is not there; in CI that is a failure. */
function missing(t: Test, what: string): void {
  if (process.env['CI']) t.fail(what);
  else t.pass('a real client', { skip: `NOT TESTED: ${what}` });
}

test('real clients', { timeout: 600_000 }, async (parent) => {
  const hub = await startHub(parent);

  await parent.test('huggingface_hub', async (t) => {
    const hf = findProgram('hf');
    if (!hf) return missing(t, 'huggingface_hub is not installed; run: node test/setup-services.ts');
    const seen = await runPython(
      t,
      join(hf, '..', 'python'),
      ['check_hub_client.py', REPOSITORY, commitOf(hub.old)],
      hub,
    );
    const commit = commitOf(hub.large);
    const config = await readFile(join(hub.store.location('large'), 'adapter_config.json'));
    t.comment(`huggingface_hub ${seen['version']}`);
    t.match(seen, {
      snapshot: { 'adapter_model.safetensors': sha256(LARGE), 'adapter_config.json': sha256(config) },
      commit,
      old: sha256(OLD),
      downloaded: sha256(LARGE),
      info: {
        sha: commit,
        private: true,
        library: 'peft',
        base: 'test/base',
        blobs: { 'adapter_config.json': await blobId([config], config.length) },
      },
      files: ['README.md', 'adapter_config.json', 'adapter_model.safetensors'],
      paths: ['README.md'],
      exist: [true, false, true, false, false],
      card: { base_model: 'test/base', library_name: 'peft', base_model_relation: 'adapter' },
      listed: [`${REPOSITORY}/README.md`, /adapter_config/, /adapter_model/],
      part: '---',
      failures: {
        repository: 'RepositoryNotFoundError',
        stranger: 'RepositoryNotFoundError',
        revision: 'RevisionNotFoundError',
        entry: 'RemoteEntryNotFoundError',
        'no key': 'RepositoryNotFoundError',
        'wrong key': 'HfHubHTTPError',
      },
    });
  });

  await parent.test('huggingface_hub goes on with a download whose connection broke', async (t) => {
    const hf = findProgram('hf');
    if (!hf) return missing(t, 'huggingface_hub is not installed; run: node test/setup-services.ts');
    const ranges: (string | undefined)[] = [];
    const proxy = createServer((incoming, response) => {
      const { method, url, headers } = incoming;
      const weights = method === 'GET' && url?.endsWith('.safetensors');
      if (weights) ranges.push(headers.range);
      const breaks = weights && ranges.length === 1;
      request(new URL(url!, hub.url), { method: method!, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        let sent = 0;
        answer.on('data', (chunk: Buffer) => {
          sent += chunk.length;
          response.write(chunk);
          if (breaks && sent > LARGE.length / 2) response.destroy();
        });
        answer.on('end', () => response.end());
        answer.on('error', () => response.destroy());
      }).end();
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    t.teardown(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const folder = await makeFolder(t);
    const download = `import huggingface_hub as hub; print(hub.hf_hub_download("${REPOSITORY}", "adapter_model.safetensors"))`;
    const { stdout } = await run(join(hf, '..', 'python'), ['-c', download], {
      cwd: folder,
      env: {
        ...process.env,
        HF_ENDPOINT: `http://127.0.0.1:${port}`,
        HF_TOKEN: hub.key,
        HF_HOME: folder,
        HF_HUB_DISABLE_PROGRESS_BARS: '1',
      },
    });
    t.equal(sha256(await readFile(stdout.trim())), sha256(LARGE));
    t.equal(ranges.length, 2);
    t.equal(ranges[0], undefined);
    t.match(ranges[1], /^bytes=[1-9][0-9]+-/, 'from where it was');
  });

  await parent.test('@huggingface/hub', async (t) => {
    const { url: hubUrl, old, large } = hub;
    // This client takes no other tokens.
    const accessToken = `hf_${hub.key}`;
    const client = { hubUrl, accessToken, repo: REPOSITORY };
    const files = await listOf(listFiles({ ...client, recursive: true, expand: true }));
    t.match(files[2], {
      path: 'adapter_model.safetensors',
      size: LARGE.length,
      lfs: { oid: sha256(LARGE) },
      lastCommit: { id: commitOf(large) },
    });
    const path = 'adapter_model.safetensors';
    const blob = await downloadFile({ ...client, path });
    t.ok(Buffer.from(await blob!.arrayBuffer()).equals(LARGE));
    const part = await downloadFile({ ...client, path, revision: commitOf(old) });
    t.ok(Buffer.from(await part!.slice(100, 200).arrayBuffer()).equals(OLD.subarray(100, 200)));
    t.match(await fileDownloadInfo({ ...client, path }), { size: LARGE.length, etag: `"${sha256(LARGE)}"` });
    t.equal(await downloadFile({ ...client, path: 'config.json' }), null);
    t.equal(await fileExists({ ...client, path }), true);
    t.equal(await fileExists({ ...client, path: 'config.json' }), false);
    const info = await modelInfo({
      hubUrl,
      accessToken,
      name: REPOSITORY,
      additionalFields: ['sha', 'tags'],
    });
    t.match(info, { name: REPOSITORY, sha: commitOf(large), private: true });
    const folder = await snapshotDownload({ ...client, cacheDir: await makeFolder(t) });
    t.equal(basename(folder), commitOf(large));
    t.same((await readdir(folder)).sort(), files.map((each) => each.path).sort());
    t.ok((await readFile(join(folder, path))).equals(LARGE));
    await t.rejects(listFiles({ ...client, repo: 'team-b/science' }).next(), { message: /status 404/ });
  });

  await parent.test('curl goes on with a file that is half there', async (t) => {
    const curl = findProgram('curl');
    if (!curl) return missing(t, 'curl is not installed; run: node test/setup-services.ts');
    const { url, key } = hub;
    const folder = await makeFolder(t);
    const file = join(folder, 'weights');
    await writeFile(file, LARGE.subarray(0, 1_234_567));
    const fetchRest = () =>
      run(curl, [
        ...[
          '--silent',
          '--show-error',
          '--fail',
          '--compressed',
          '-C',
          '-',
          '-o',
          file,
          '-w',
          '%{http_code}',
        ],
        ...[
          '-H',
          `Authorization: Bearer ${key}`,
          `${url}/${REPOSITORY}/resolve/main/adapter_model.safetensors`,
        ],
      ]);
    t.equal((await fetchRest()).stdout, '206');
    t.ok((await readFile(file)).equals(LARGE));
  });

  await parent.test('PEFT and transformers', { timeout: 300_000 }, async (t) => {
    const python = trainingPython();
    if (!python) return missing(t, 'there is no Python environment of training/, which has PEFT');
    const { store, url, key } = hub;
    const layout = {
      rank: 2,
      alpha: 4,
      chunkWidth: 2,
      layers: 1,
      layerPath: 'model.layers',
      modules: [{ path: 'self_attn.v_proj', in: 4, out: 4 }],
    };
    const tensors = ['A', 'B'].map((side) => ({
      name: `base_model.model.model.layers.0.self_attn.v_proj.lora_${side}.weight`,
      shape: side === 'A' ? [2, 4] : [4, 2],
    }));
    const values = tensors.map(() => Float32Array.from({ length: 8 }, (_, place) => (place + 1) / 2));
    const weights = await listOf(writeSafetensors(tensors, values, { dtype: 'f32' }));
    await store.names.set(
      'real',
      await publishAdapter(store, 'real-1', {
        weights: Buffer.concat(weights),
        config: peftConfig({ id: 'test/base' }, layout),
      }),
    );
    const seen = await runPython(t, python, ['check_peft.py', 'team-a/real'], { url, key });
    t.comment(`peft ${seen['version']}`);
    t.ok((seen['changed'] as number) > 1e-4, 'the adapter changes what the base says');
    t.equal(seen['differs'], 0, 'both ways load the same');
  });
});

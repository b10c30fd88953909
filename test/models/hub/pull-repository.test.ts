import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { fillUniform, seededRandom } from '../../../src/base/random.ts';
import { parseHubAddress } from '../../../src/models/hub/address.ts';
import {
  type PullOptions,
  type PullProgress,
  pullRepository,
} from '../../../src/models/hub/pull-repository.ts';
import { openModelRegistry } from '../../../src/models/registry.ts';
import { type ServedFile, startHub } from '../hub-server.ts';
import { importSmallBundle } from '../small-bundle.ts';

const text = (content: string): ServedFile => ({ content: new TextEncoder().encode(content) });

/** A large file of random bytes. */
function weights(floats: number): ServedFile {
  const values = new Float32Array(floats);
  fillUniform(seededRandom(floats), values, 1);
  return { content: new Uint8Array(values.buffer), large: true };
}

const ENCODER = {
  '.gitattributes': text('*.onnx filter=lfs'),
  'config.json': text('{"hidden_size":8}'),
  'tokenizer.json': text('{}'),
  'README.md': text('# An encoder'),
  empty: text(''),
  'pytorch_model.bin': weights(10),
  'model.safetensors': weights(11),
  'onnx/model.onnx': weights(50_000),
  'onnx/model.onnx_data': weights(40),
  'onnx/model_quantized.onnx': weights(30),
  'onnx/a file #1.bin': weights(20),
};

async function start(t: Test, files: Record<string, ServedFile> = { ...ENCODER }) {
  const hub = await startHub(files);
  t.teardown(() => hub.close());
  const root = t.testdir();
  const out = join(root, 'out');
  const pull = ({ at, asBundle, ...options }: Partial<PullOptions> & { at?: string; asBundle?: true } = {}) =>
    pullRepository({
      address: parseHubAddress(at ?? `hf://${hub.repository}`),
      endpoint: hub.url,
      bundlesDirectory: join(root, 'bundles'),
      ...(asBundle ? {} : { out }),
      retryDelayMs: 0,
      ...options,
    });
  return { ...hub, root, out, pull };
}

/** Paths and contents below a directory. */
async function filesBelow(directory: string): Promise<Record<string, Buffer>> {
  const found = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = found.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(
    await Promise.all(
      paths.map(async (path) => [path.slice(directory.length + 1), await readFile(path)] as const),
    ),
  );
}

function same(t: Test, found: Record<string, Buffer>, wanted: Record<string, ServedFile>): void {
  t.same(Object.keys(found).sort(), Object.keys(wanted).sort());
  for (const [path, content] of Object.entries(found)) t.ok(content.equals(wanted[path]!.content), path);
}

function pick(...paths: (keyof typeof ENCODER)[]): Record<string, ServedFile> {
  return Object.fromEntries(paths.map((path) => [path, ENCODER[path]]));
}

test('of an encoder come the ONNX model and what describes it', async (t) => {
  const { pull, out, state, root } = await start(t);
  const progress: PullProgress[] = [];
  const pulled = await pull({ onProgress: (step) => progress.push(step) });
  t.match(pulled, { directory: out, commit: state.commit, bundle: undefined });
  const wanted = pick(
    'config.json',
    'tokenizer.json',
    'README.md',
    'onnx/model.onnx',
    'onnx/model.onnx_data',
  );
  same(t, await filesBelow(out), wanted);
  t.same(await readdir(root), ['out'], 'nothing is left beside it');
  const { doneBytes, totalBytes } = progress.at(-1)!;
  t.equal(doneBytes, totalBytes);
  t.equal(
    totalBytes,
    Object.values(wanted).reduce((sum, { content }) => sum + content.length, 0),
  );
  await t.rejects(pull(), { code: 'repository-unusable', message: /not empty/ });
});

test('patterns choose other files, whatever their names', async (t) => {
  const { pull, out, root } = await start(t);
  await pull({ include: ['onnx/*_quantized.onnx', '**/a file*', 'empty'] });
  same(t, await filesBelow(out), pick('onnx/model_quantized.onnx', 'onnx/a file #1.bin', 'empty'));
  await t.rejects(pull({ include: ['*.gguf'], out: join(root, 'none') }), {
    code: 'repository-unusable',
    message: /No file/,
  });
});

test('without an ONNX model, checkpoints come, from models and from data sets', async (t) => {
  const files = {
    'qwen0.5lora__ARC-c.pth': weights(64),
    'logs/run.log': text('step 1'),
    'math/decoder.safetensors': weights(65),
  };
  const { pull, out, repository } = await start(t, files);
  await pull({ at: `hf://datasets/${repository}@v1` });
  const { 'logs/run.log': _, ...wanted } = files;
  same(t, await filesBelow(out), wanted);
});

test('a bundle is verified, lands where the service looks, and brings nothing else', async (t) => {
  const made = await importSmallBundle(t.testdir());
  const files: Record<string, ServedFile> = { 'notes.md': text('not of the bundle') };
  for (const [path, content] of Object.entries(await filesBelow(made.bundle.directory))) {
    files[path] = { content, large: path.includes('onnx') };
  }
  const { pull, root, state } = await start(t, files);
  const steps = new Set<string>();
  const { bundle, directory } = await pull({ asBundle: true, onProgress: ({ step }) => steps.add(step) });
  t.same(bundle, { ...made.bundle, directory });
  t.same([...steps], ['download', 'verification']);
  const registry = await openModelRegistry({ directory: join(root, 'bundles') });
  t.same(registry.list(), [bundle]);
  const { 'notes.md': _, ...wanted } = files;
  same(t, await filesBelow(directory), wanted);

  // A Hub vouches for its bytes, not for what a bundle says of them.
  const manifest = JSON.parse(new TextDecoder().decode(files['bundle.json']!.content));
  const withManifest = (change: (copy: typeof manifest) => void) => {
    const copy = structuredClone(manifest);
    change(copy);
    state.files = { ...files, 'bundle.json': text(JSON.stringify(copy)) };
  };
  const table: [string, () => void, RegExp][] = [
    [
      'a digest',
      () =>
        withManifest(({ files }) => {
          files[0].sha256 = '0'.repeat(64);
        }),
      /digest the manifest says/,
    ],
    [
      'a size',
      () =>
        withManifest(({ files }) => {
          files[0].bytes++;
        }),
      /bytes, the manifest says/,
    ],
    [
      'a missing file',
      () =>
        withManifest(({ files }) => {
          files[0].name = 'gone';
        }),
      /gone is missing|must list/,
    ],
    [
      'a manifest that is none',
      () => {
        state.files = { ...files, 'bundle.json': text('{}') };
      },
      /bundle\.json/,
    ],
    [
      'a manifest without end',
      () => {
        state.files = { ...files, 'bundle.json': text(' '.repeat(2 ** 20 + 1)) };
      },
      /larger than/,
    ],
  ];
  for (const [index, [what, arrange, message]] of table.entries()) {
    arrange();
    state.commit = String(index).repeat(40);
    const out = join(root, 'refused');
    await t.rejects(pull({ asBundle: true, out }), { code: 'bundle-invalid', message }, what);
    t.notOk((await readdir(root)).includes('refused'), 'nothing shows');
  }
});

test('what is no bundle needs a place', async (t) => {
  const { pull, root } = await start(t);
  await t.rejects(pull({ asBundle: true }), { code: 'repository-unusable', message: /--out/ });
  t.same(await readdir(root), []);
});

test('a connection that breaks is taken up again where it broke', async (t) => {
  const { pull, out, state } = await start(t, { 'a.pth': weights(200_000) });
  state.cuts = [300_000, 200_000];
  state.statuses = [503];
  await pull();
  same(t, await filesBelow(out), state.files);
  // How much of a cut answer arrives is up to the system, but each request starts where the one before ended.
  const starts = state.ranges.map((range) => Number(/^bytes=(\d+)-$/.exec(range)![1]));
  t.equal(starts.length, 3);
  t.equal(starts[0], 0);
  t.ok(starts[1]! > 0 && starts[1]! <= 300_000, `second from ${starts[1]}`);
  t.ok(starts[2]! >= starts[1]! && starts[2]! <= starts[1]! + 200_000, `third from ${starts[2]}`);
});

test('a pull that ended early goes on from what it left, even from damage', async (t) => {
  const files = { 'a.pth': weights(1000), 'b.pth': weights(200_000) };
  const { pull, out, root, state } = await start(t, files);
  const controller = new AbortController();
  const onProgress = ({ path, doneBytes }: PullProgress) => {
    if (path === 'b.pth' && doneBytes > 104_000) controller.abort();
  };
  await t.rejects(pull({ signal: controller.signal, onProgress }), { name: 'AbortError' });
  const [left] = await readdir(root);
  t.match(left, /^\.out\.pulling_[0-9a-f]{20}$/, 'hidden, and named after what it is to hold');
  const { length: kept } = (await filesBelow(join(root, left!)))['b.pth']!;
  t.ok(kept >= 100_000 && kept < files['b.pth'].content.length, `${kept} bytes are kept`);

  // As after a power cut: the length is there, the last bytes are not.
  const half = join(root, left!, 'a.pth');
  await writeFile(half, Buffer.alloc(2000));
  state.ranges.length = 0;
  await pull();
  same(t, await filesBelow(out), files);
  t.same(state.ranges, ['bytes=2000-', 'bytes=0-', `bytes=${kept}-`]);
  t.same(await readdir(root), ['out']);
});

test('two pulls at once do not harm each other', async (t) => {
  const { pull, out, state } = await start(t, { 'a.pth': weights(300_000), 'b.pth': weights(200_000) });
  const results = await Promise.allSettled([pull(), pull(), pull()]);
  t.ok(results.some(({ status }) => status === 'fulfilled'));
  for (const result of results) {
    if (result.status === 'rejected') t.match(result.reason, { code: 'repository-unusable' });
  }
  same(t, await filesBelow(out), state.files);
});

test('bytes that are not those the Hub promised are refused and not kept', async (t) => {
  for (const path of ['config.json', 'onnx/model.onnx']) {
    const { pull, root, state } = await start(t);
    state.damaged.add(path);
    await t.rejects(pull(), { code: 'download-damaged', message: new RegExp(path) });
    t.notOk((await readdir(root)).includes('out'));
    state.damaged.clear();
    await pull();
    t.ok((await readdir(root)).includes('out'), 'the next pull gets them anew');
  }
});

test('access, and its absence', async (t) => {
  const { pull, state, repository, out } = await start(t);
  state.token = 'secret-of-the-lab';
  state.isGated = true;
  const refused = { code: 'hub-refused', message: /gated.*HF_TOKEN/ };
  await t.rejects(pull(), refused);
  await t.rejects(pull({ token: 'wrong' }), { ...refused, message: /HF_TOKEN does not open it/ });
  state.isGated = false;
  await t.rejects(pull(), { code: 'hub-not-found', message: /no such repository, or it is private/ });
  await t.rejects(pull({ at: 'hf://lab/nothing' }), { code: 'hub-not-found' });
  await t.rejects(pull({ at: `hf://${repository}@v2`, token: state.token }), {
    code: 'hub-not-found',
    message: /no such revision/,
  });
  await pull({ token: state.token });
  t.ok((await readdir(out)).includes('onnx'));
  t.same(state.leaked, [], 'the token stays with the endpoint');
});

test('a Hub that is not there, is busy, or is none', async (t) => {
  const { pull, state, close, url } = await start(t, { 'a.pth': weights(10) });
  state.statuses = Array(6).fill(429);
  await t.rejects(pull(), { code: 'hub-unreachable', message: /answered 429/, retryable: true });
  await pull({ endpoint: `${url}/` });
  await t.rejects(pull({ endpoint: 'huggingface.co' }), { code: 'hub-unreachable', message: /HF_ENDPOINT/ });
  await close();
  await t.rejects(pull({ out: t.testdir() }), {
    code: 'hub-unreachable',
    message: /cannot be reached, or the connection broke \(\w+\)/,
  });
});

test('an interruption does not wait for the next attempt', async (t) => {
  const { pull, state } = await start(t, { 'a.pth': weights(10) });
  state.statuses = [503];
  const controller = new AbortController();
  const reason = new Error('enough');
  const interrupting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (response.status === 503) setTimeout(() => controller.abort(reason), 10);
    return response;
  };
  await t.rejects(pull({ signal: controller.signal, fetch: interrupting, retryDelayMs: 3_600_000 }), reason);
});

test('a server that ignores ranges is told from one that goes on', async (t) => {
  const { pull, state, root } = await start(t, { 'a.pth': weights(100_000) });
  state.cuts = [200_000];
  state.ignoresRanges = true;
  await t.rejects(pull(), { code: 'hub-answer-invalid', message: /from byte 0 on/ });
  t.equal((await readdir(root)).length, 1, 'what came is kept');
});

test('a listing that would lead elsewhere, or nowhere, is refused', async (t) => {
  const file = (path: string, more: object = {}) => ({
    type: 'file',
    path,
    size: 1,
    oid: 'a'.repeat(40),
    ...more,
  });
  const { pull, state, root } = await start(t);
  const lfs = { oid: 'a'.repeat(64), size: 2 ** 40 };
  const table: [string, unknown[], string, RegExp][] = [
    ['upwards', [file('../../evil.json')], 'hub-answer-invalid', /"\.\.\/\.\.\/evil\.json"/],
    ['upwards inside', [file('a/../../b.json')], 'hub-answer-invalid', /cannot be used/],
    ['absolute', [file('/etc/passwd')], 'hub-answer-invalid', /cannot be used/],
    ['on a drive', [file('C:/x.json')], 'hub-answer-invalid', /cannot be used/],
    ['with backslashes', [file('a\\..\\b.json')], 'hub-answer-invalid', /cannot be used/],
    ['with a line break', [file('a\nb.json')], 'hub-answer-invalid', /"a\\nb\.json"/],
    ['too deep', [file(`${'a/'.repeat(20)}b.json`)], 'hub-answer-invalid', /cannot be used/],
    ['too long', [file('a'.repeat(2000))], 'hub-answer-invalid', /no file or folder/],
    ['twice', [file('A.json'), file('a.json')], 'hub-answer-invalid', /twice/],
    ['no digest', [file('a.json', { oid: 'md5' })], 'hub-answer-invalid', /no file or folder/],
    ['no size', [file('a.json', { size: -1 })], 'hub-answer-invalid', /no file or folder/],
    ['not an entry', ['a.json'], 'hub-answer-invalid', /no file or folder/],
    [
      'without end',
      Array.from({ length: 2002 }, (_, i) => file(`${i}.json`)),
      'hub-answer-invalid',
      /1000 pages/,
    ],
    [
      'too many',
      Array.from({ length: 1001 }, (_, i) => file(`${i}.json`)),
      'repository-unusable',
      /1001 files/,
    ],
    ['too large', [file('a.pth', { lfs })], 'repository-unusable', /limit/],
    ['more than the disk', [file('a.pth', { lfs: { ...lfs, size: 60 * 2 ** 30 } })], 'disk-full', /are free/],
    ['another size than told', [file('config.json', { size: 1 })], 'hub-answer-invalid', /another size/],
    ['a file that is not there', [file('gone.json')], 'hub-not-found', /lost a file/],
  ];
  for (const [what, entries, code, message] of table) {
    state.listing = entries;
    await t.rejects(pull({ freeBytes: async () => 2 ** 30 }), { code, message }, what);
    t.notOk((await readdir(root)).includes('out'), 'nothing shows');
  }
});

test('an address is read, or refused', (t) => {
  t.same(parseHubAddress('hf://lab/generator'), {
    kind: 'model',
    repository: 'lab/generator',
    revision: 'main',
  });
  t.same(parseHubAddress('hf://datasets/lab/a.b-c@refs/pr/1'), {
    kind: 'dataset',
    repository: 'lab/a.b-c',
    revision: 'refs/pr/1',
  });
  for (const text of [
    'lab/generator',
    'hf://generator',
    'hf://lab/generator/file.bin',
    'hf://lab/..',
    'hf://lab/generator@',
    'hf://lab/generator@a..b',
    'hf://lab/gen?x',
    'https://huggingface.co/lab/generator',
  ]) {
    t.throws(() => parseHubAddress(text), { code: 'repository-unusable', message: /hf:\/\// }, text);
  }
  t.end();
});

test('what pulls left goes after a week', async (t) => {
  const { pull, root } = await start(t);
  await mkdir(join(root, '.out.pulling_old'));
  await pull({ now: () => Date.now() + 6 * 86_400_000 });
  t.same((await readdir(root)).sort(), ['.out.pulling_old', 'out']);
  await rm(join(root, 'out'), { recursive: true });
  await pull({ now: () => Date.now() + 8 * 86_400_000 });
  t.same(await readdir(root), ['out']);
});

import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { type Test, test } from 'tap';
import packageJson from '../package.json' with { type: 'json' };
import { until } from './helpers/loradrop-process.ts';
import { nodeProgram, OLDER_NODES } from './helpers/older-nodes.ts';
import { startOtlpReceiver } from './helpers/otlp-receiver.ts';
import { startRedis } from './helpers/redis.ts';

const root = join(import.meta.dirname, '..');
const execute = promisify(execFile);
/** The runner puts its hooks into every child; neither the compiler nor other releases of Node take them. */
const PLAIN = ['-u', 'NODE_OPTIONS'];
const run = (program: string, args: readonly string[], options: { cwd?: string } = {}) =>
  execute('env', [...PLAIN, program, ...args], options);

/** Most that an installation may take, in bytes of whole blocks, as `du` counts. */
const MAX_INSTALLED_BYTES = 200e6;

/** A program of a stranger's: the service's address is its argument. It prints what it has got as JSON. */
const STRANGER = `
import { readFile } from 'node:fs/promises';
import { createClient, ProblemError } from 'loradrop/client';
const client = createClient({ url: process.argv[2] });
const body = new Uint8Array(await readFile('prompts.parquet'));
const { id } = await client.generateFromFile({ body, type: 'application/vnd.apache.parquet' }, { seed: 5 });
const job = await client.waitForJob(id);
const adapter = await client.getAdapter(job.adapters[0].id);
const files = [];
for (const file of adapter.files) files.push((await client.download(adapter.id, file)).length);
const refused = await client.getJob('nobody').catch((error) => error instanceof ProblemError && error.code);
const internal = await import('loradrop/dist/compose.js').catch((error) => error.code);
console.log(JSON.stringify({ status: job.status, rows: job.promptSource?.field, files, refused, internal }));
`;

/** What type checks in a stranger's project. */
const TYPED = `
import { createClient, type Job } from 'loradrop/client';
const client = createClient({ url: 'http://localhost:8080', key: 'ld_x' });
export const status: Promise<Job['status']> = client.getJob('a').then((job) => job.status);
// @ts-expect-error: no such status
export const wrong: Promise<'lost'> = client.getJob('a').then((job) => job.status);
`;

async function blockBytes(directory: string): Promise<number> {
  let bytes = (await lstat(directory)).blocks * 512;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    bytes += entry.isDirectory() ? await blockBytes(path) : (await lstat(path)).blocks * 512;
  }
  return bytes;
}

/** Starts the installed service with one Node and runs the stranger's program against it with the same. */
async function use(t: Test, node: string, directory: string, environment: Record<string, string>) {
  const cli = join(directory, 'node_modules/loradrop/bin/loradrop.js');
  const dataDir = await mkdtemp(join(tmpdir(), 'loradrop-package-'));
  const child = spawn('env', [...PLAIN, node, cli, 'start'], {
    cwd: directory,
    env: { PATH: process.env['PATH'], PORT: '0', DATA_DIR: dataDir, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (printed += bytes));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  try {
    let url = '';
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`it ended:\n${printed}`);
      url = /listening at (http:[^"\s]+)/.exec(printed)?.[1] ?? '';
      return url !== '' && (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200;
    }, 120_000);
    const { stdout } = await run(node, ['stranger.mjs', url], { cwd: directory });
    const { files, ...told } = JSON.parse(stdout) as { files: number[] } & Record<string, unknown>;
    t.same(told, {
      status: 'succeeded',
      rows: 'question',
      refused: 'job-not-found',
      internal: 'ERR_PACKAGE_PATH_NOT_EXPORTED',
    });
    t.ok(files.length === 2 && files[0]! > 2 ** 20);
    for (const page of ['/docs/', '/docs/static/swagger-ui-bundle.js', '/favicon.ico']) {
      t.equal((await fetch(`${url}${page}`)).status, 200, page);
    }
    child.kill('SIGTERM');
    t.equal(await ended, 0, printed);
  } finally {
    child.kill('SIGKILL');
    await ended;
    await rm(dataDir, { recursive: true, force: true });
  }
}

test('the package installs into an empty folder from its file alone, and works', async (t) => {
  // Outside the repository, whose own dependencies Node would find from anywhere below it.
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-package-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const packing = await run(process.execPath, [join(root, 'packaging/package.ts'), directory], { cwd: root });
  const file = packing.stdout.trim().split('\n').at(-1)!;
  await writeFile(join(directory, 'package.json'), '{"private": true}');
  const cache = join(directory, 'cache');
  // Offline, with an empty cache: all that it needs is inside.
  await run('npm', ['install', '--offline', '--cache', cache, '--no-audit', '--no-fund', file], {
    cwd: directory,
  });
  await rm(cache, { recursive: true });
  const installed = join(directory, 'node_modules');
  t.same(await readdir(installed).then((names) => names.filter((name) => !name.startsWith('.'))), [
    'loradrop',
  ]);
  const bytes = await blockBytes(installed);
  t.ok(bytes <= MAX_INSTALLED_BYTES, `${Math.round(bytes / 1e6)} MB installed`);
  t.comment(
    `${Math.round(bytes / 1e6)} MB installed, ${Math.round((await lstat(file)).size / 1e6)} MB packed`,
  );
  await run('npm', ['ls', '--all'], { cwd: directory });

  const columns = Array.from({ length: 20 }, (_, index) => `Which river is number ${index}?`);
  const parquet = parquetWriteBuffer({ columnData: [{ name: 'question', data: columns, type: 'STRING' }] });
  await writeFile(join(directory, 'prompts.parquet'), new Uint8Array(parquet));
  await writeFile(join(directory, 'stranger.mjs'), STRANGER);
  await mkdir(join(directory, 'typed'));
  await writeFile(join(directory, 'typed', 'main.mts'), TYPED);
  const options = [
    '--ignoreConfig',
    '--strict',
    '--noEmit',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--lib',
    'es2022,dom',
  ];
  const compiler = join(root, 'node_modules/.bin/tsc');
  await run(compiler, [...options, '--types', '', join(directory, 'typed', 'main.mts')], { cwd: directory });

  const redis = await startRedis(t);
  const collector = await startOtlpReceiver();
  t.teardown(() => collector.close());
  const cli = join(installed, 'loradrop/bin/loradrop.js');
  const { dependencies } = JSON.parse(
    await readFile(join(installed, 'loradrop/package.json'), 'utf8'),
  ) as Pick<typeof packageJson, 'dependencies'>;
  t.ok(Object.keys(dependencies).length > 25);
  for (const version of [...OLDER_NODES, process.versions.node]) {
    const node = version === process.versions.node ? process.execPath : nodeProgram(version);
    if (!existsSync(node)) {
      const reason = `Node ${version} is not installed; npm run setup-services installs it`;
      if (process.env['CI']) t.fail(reason);
      else t.pass(reason, { skip: `NOT TESTED: ${reason}` });
      continue;
    }
    await t.test(`on Node ${version}`, async (t) => {
      const { stdout } = await run(node, [cli, '--version'], { cwd: directory });
      t.match(stdout, new RegExp(`^${packageJson.version} \\(.*Node ${version.replaceAll('.', '\\.')}\\)`));
      const before = collector.spans.length;
      await use(t, node, directory, {
        // The last one works on the embedded queue, the others on Redis.
        ...(redis && version !== process.versions.node && { QUEUE_URL: redis.url }),
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      });
      t.ok(collector.spans.length > before, 'traces arrive');
      if (version === OLDER_NODES[0]) {
        const demo = await run(node, [cli, 'demo', '--data-dir', join(directory, 'demo')], {
          cwd: directory,
        });
        t.match(demo.stdout, /^verified .*sha256 [0-9a-f]{64}$/m);
        t.ok(demo.stdout.trim().split('\n').length <= 25, 'the demo is 25 lines');
        const base = join(directory, 'base.gguf');
        // A whole header without anything in it: version 3, no tensors, no metadata.
        await writeFile(base, Buffer.concat([Buffer.from('GGUF\u0003\0\0\0'), Buffer.alloc(16)]));
        const without = await run(
          node,
          [cli, 'demo', '--base', base, '--data-dir', join(directory, 'demo')],
          {
            cwd: directory,
          },
        ).catch((error: { stderr: string }) => error);
        t.match(without.stderr, /npm install node-llama-cpp.*\[base-runtime-missing\]/);
      }
    });
  }
});

test('npm pack has the same program, with dependencies by name', async (t) => {
  const printed = execFileSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const [packed] = Object.values(JSON.parse(printed) as Record<string, { files: { path: string }[] }>);
  const paths = packed!.files.map(({ path }) => path);
  for (const path of [
    'bin/loradrop.js',
    'dist/main.js',
    'dist/client/client.d.ts',
    'dist/models/default/bundle.json',
  ]) {
    t.ok(paths.includes(path), path);
  }
  t.notOk(paths.some((path) => /^(src|test|training|node_modules)\//.test(path)));
  t.ok(paths.includes('examples/science-prompts.jsonl'));
});

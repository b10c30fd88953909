/**
 * The shell blocks (```sh) of README and pages are run as they stand, on one service, in the order in which people meet them. Every other
 * block with a command says before it, in a comment, why it is not run here.
 */
import { execFile } from 'node:child_process';
import { cp, glob, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { test } from 'tap';
import type { Job } from '../../src/http/schemas.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { parseManifest } from '../../src/models/parse-manifest.ts';
import { SHIPPED_BUNDLE } from '../../src/models/shipped.ts';
import { startLoradrop } from '../helpers/loradrop-process.ts';

const root = join(import.meta.dirname, '..', '..');

/** Pages with blocks that are run. Each may use what those before it left; keys come last, since they close the service. */
const ORDER = [
  'README.md',
  'docs/get-started.md',
  'docs/client.md',
  'docs/requests.md',
  'docs/bundles.md',
  'docs/gguf.md',
  'docs/serving.md',
  'docs/access.md',
];

const COMMAND =
  /^\s*(\w+=\S+ )*(curl|npx|npm|node|docker|kubectl|python3?|pip|vllm|llama-server|export|helm)\s/m;
const NOT_RUN = /^<!-- not run: \S.* -->$/;

type Block = { readonly run: boolean; readonly text: string; readonly excuse: boolean };

/** The code blocks of a page, fenced or indented. */
function blocksOf(page: string): Block[] {
  const lines = page.split('\n');
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(\w*)$/.exec(lines[at]!);
    const indented = lines[at]!.startsWith('    ') && lines[at - 1] === '';
    if (!fence && !indented) continue;
    const before = lines.slice(0, at).findLast((line) => line !== '') ?? '';
    const inBlock = (line: string) => (fence ? line !== '```' : line.startsWith('    ') || line === '');
    const first = fence ? at + 1 : at;
    let end = first;
    while (end < lines.length && inBlock(lines[end]!)) end += 1;
    const text = lines.slice(first, end).join('\n');
    blocks.push({ run: fence?.[1] === 'sh', text, excuse: NOT_RUN.test(before) });
    at = fence ? end : end - 1;
  }
  return blocks;
}

/** Runs a shell block in a directory. */
function shell(script: string, cwd: string, env: Record<string, string>) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(
      'bash',
      ['-euo', 'pipefail', '-c', script],
      { cwd, env: { ...process.env, ...env } },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

test('every command of README and pages works as it stands, or says why it is not run', async (t) => {
  const directory = t.testdir({});
  await cp(join(root, 'examples'), join(directory, 'examples'), { recursive: true });
  const questions = ['Which gas do plants take in?', 'Why does ice float on water?', 'What do bees make?'];
  const parquet = parquetWriteBuffer({ columnData: [{ name: 'question', data: questions, type: 'STRING' }] });
  await writeFile(join(directory, 'train-00000-of-00001.parquet'), new Uint8Array(parquet));
  const dataDir = join(directory, 'data');
  const { url } = await startLoradrop(t, 'start', { DATA_DIR: dataDir });
  const loradrop = `${process.execPath} ${join(root, 'src', 'main.ts')}`;

  const outputs = new Map<string, string[]>();
  for (const page of ORDER) {
    const printed: string[] = [];
    for (const { run, text } of blocksOf(await readFile(join(root, page), 'utf8'))) {
      if (!run) continue;
      const script = text
        .replaceAll('http://localhost:8080', url)
        .replaceAll(/\bcurl(?= )/g, 'curl --fail-with-body -s')
        .replaceAll('npx loradrop', loradrop);
      const env = { DATA_DIR: dataDir, LORADROP_URL: url };
      const { code, out, err } = await shell(script, directory, env);
      t.equal(code, 0, `${page}\n${text}\n${out}\n${err}`);
      printed.push(out);
    }
    t.ok(printed.length > 0, `${page} has blocks that are run`);
    outputs.set(page, printed);
  }

  const [waited] = outputs.get('README.md') as [string];
  const [models, own, events] = outputs.get('docs/get-started.md') as [string, string, string];
  const { id, layout } = parseManifest(await readFile(join(SHIPPED_BUNDLE, 'bundle.json')));
  t.match(JSON.parse(models), { models: [{ id, default: true }] });
  for (const job of [waited, own]) t.equal((JSON.parse(job) as Job).status, 'succeeded');
  t.match(events, /event: progress[\s\S]*event: succeeded/);
  const parameters = loraTensors(layout).reduce((sum, { shape: [rows, columns] }) => sum + rows * columns, 0);
  for (const name of ['adapter.tar', 'adapter_model.safetensors', 'adapter.gguf']) {
    t.ok((await stat(join(directory, name))).size > 2 * parameters, `${name} holds every number in 16 bits`);
  }
});

test('a command that no test runs says why', async (t) => {
  let excused = 0;
  for await (const page of glob(['README.md', 'docs/*.md'], { cwd: root })) {
    for (const { run, text, excuse } of blocksOf(await readFile(join(root, page), 'utf8'))) {
      if (run) t.ok(ORDER.includes(page), `${page} is among the pages whose blocks are run`);
      else if (COMMAND.test(text)) t.ok(excuse, `${page} says why this is not run:\n${text}`);
      if (excuse) excused += 1;
    }
  }
  t.ok(excused > 5);
});

import { execFile } from 'node:child_process';
import { cp, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import type { Job } from '../../src/http/schemas.ts';
import { loraTensors } from '../../src/lora/tensors.ts';
import { parseManifest } from '../../src/models/parse-manifest.ts';
import { SHIPPED_BUNDLE } from '../../src/models/shipped.ts';
import { startLoradrop } from '../helpers/loradrop-process.ts';

const root = join(import.meta.dirname, '..', '..');

/** Runs a shell block of the README in a directory. */
function shell(script: string, cwd: string) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile('bash', ['-euo', 'pipefail', '-c', script], { cwd }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

test('every shell example of the README works as it stands', async (t) => {
  const directory = t.testdir({});
  await cp(join(root, 'examples'), join(directory, 'examples'), { recursive: true });
  const { url } = await startLoradrop(t, 'start', { DATA_DIR: join(directory, 'data') });
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block!);
  t.ok(blocks.length >= 5);
  const outputs: string[] = [];
  for (const block of blocks) {
    const { code, out, err } = await shell(
      block.replaceAll('http://localhost:8080', url).replaceAll('curl -s', 'curl --fail-with-body -s'),
      directory,
    );
    t.equal(code, 0, `${block}\n${out}\n${err}`);
    outputs.push(out);
  }
  const [models, waited, , events] = outputs as [string, string, string, string];
  const { id, layout } = parseManifest(await readFile(join(SHIPPED_BUNDLE, 'bundle.json')));
  t.match(JSON.parse(models), { models: [{ id, default: true }] });
  t.equal((JSON.parse(waited) as Job).status, 'succeeded');
  t.match(events, /event: progress[\s\S]*event: succeeded/);
  const parameters = loraTensors(layout).reduce((sum, { shape: [rows, columns] }) => sum + rows * columns, 0);
  for (const name of ['adapter.tar', 'adapter_model.safetensors']) {
    t.ok((await stat(join(directory, name))).size > 2 * parameters, `${name} holds every number in bf16`);
  }
});

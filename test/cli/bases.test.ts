import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { runCli } from '../../src/cli/program.ts';
import { startHub } from '../models/hub-server.ts';

test('a base is pulled from a Hub once, and listed as what it is', async (t) => {
  const content = Buffer.from(`GGUF${'x'.repeat(100_000)}`);
  const name = 'SmolLM2-135M-Instruct-Q8_0.gguf';
  const hub = await startHub({ [`sub/${name}`]: { content, large: true }, 'README.md': { content } });
  t.teardown(() => hub.close());
  const directory = join(t.testdir({}), 'bases');
  const run = async (...args: string[]) => {
    const lines: string[] = [];
    const output = {
      line: (text = '') => void lines.push(text),
      note: () => {},
      progress: () => ({ update() {}, stop() {} }),
    };
    const status = await runCli(['node', 'loradrop', 'bases', ...args, '--bases-dir', directory], output);
    return { status, text: lines.join('\n') };
  };
  const on = ['--hf-endpoint', hub.url];
  t.match(await run('list'), { status: 0, text: /no base in/ });
  const address = `hf://${hub.repository}/sub/${name}`;
  t.match(await run('pull', address, ...on), {
    status: 0,
    text: /base HuggingFaceTB\/SmolLM2-135M-Instruct/,
  });
  t.strictSame(await readdir(directory), [name]);
  t.ok((await readFile(join(directory, name))).equals(content));
  const before = hub.state.ranges.length;
  const again = await run('pull', address, ...on, '--base', 'owner/own');
  t.match(again, { status: 0, text: /is there already[\s\S]*base owner\/own/ });
  t.equal(hub.state.ranges.length, before, 'nothing is fetched twice');
  t.match(await run('list'), { text: /owner\/own/ });
  for (const wrong of [
    `hf://${hub.repository}`,
    `hf://${hub.repository}/README.md`,
    `hf://${hub.repository}/no.gguf`,
  ]) {
    t.match(await run('pull', wrong, ...on), { status: 1 }, wrong);
  }
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { runCli } from '../../src/cli/program.ts';
import { parseManifest } from '../../src/models/parse-manifest.ts';
import { SHIPPED_BUNDLE } from '../../src/models/shipped.ts';

test('the demo makes an adapter with the shipped bundle, verifies it, and tells what was measured', async (t) => {
  const lines: string[] = [];
  const output = {
    line: (text = '') => void lines.push(text),
    note: () => {},
    progress: () => ({ update() {}, stop() {} }),
  };
  const dataDir = t.testdir({});
  t.equal(await runCli([process.execPath, 'loradrop', 'demo', '--data-dir', dataDir], output), 0);
  const printed = lines.join('\n');
  const manifest = parseManifest(await readFile(join(SHIPPED_BUNDLE, 'bundle.json')));
  t.match(printed, `model    ${manifest.id}`);
  t.match(printed, /^verified .*; sha256 [0-9a-f]{64}$/m);
  t.match(printed, manifest.evaluation ? /^ +generated +\d/m : /Nothing was measured of this model/);
  t.equal(/untrained/.test(printed), !manifest.trained);
  const config = JSON.parse(
    await readFile(join(dataDir, 'demo', 'adapter', 'adapter_config.json'), 'utf8'),
  ) as { target_modules: string[] };
  t.same(
    config.target_modules,
    manifest.layout.modules.map(({ path }) => path.split('.').at(-1)),
  );
});

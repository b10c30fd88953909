import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import OpenAI, { toFile } from 'openai';
import { test } from 'tap';
import { digestOfKey } from '../../src/access/api-key.ts';
import { startLoradrop } from '../helpers/loradrop-process.ts';
import { findProgram } from '../helpers/services.ts';
import { buildUntrainedBundle, UNTRAINED_BUNDLE_ID } from '../helpers/untrained-bundle.ts';

/** More of both for a longer run, and which paths it is about: `SCHEMATHESIS_EXAMPLES=500 SCHEMATHESIS_SEED=7 SCHEMATHESIS_PATHS=^/v1/files`. */
const {
  SCHEMATHESIS_EXAMPLES: examples = '10',
  SCHEMATHESIS_SEED: seed = '1',
  SCHEMATHESIS_PATHS: paths,
} = process.env;
const KEY = `ld_${'k'.repeat(43)}`;

test('document and program agree for whatever Schemathesis makes of the document', async (t) => {
  const program = findProgram('schemathesis');
  if (!program) {
    const reason = 'schemathesis is not installed; run: node test/setup-services.ts';
    if (process.env['CI']) t.fail(reason);
    else t.pass('the document', { skip: `NOT TESTED: ${reason}` });
    return;
  }
  const root = t.testdir({});
  await buildUntrainedBundle({ out: join(root, 'bundles', 'untrained'), seed: 0 });
  const dataDirectory = join(root, 'data');
  await mkdir(dataDirectory);
  const key = { name: 'all', tenant: 'team', scopes: ['generate', 'read'], sha256: digestOfKey(KEY) };
  const keys = { version: 1, keys: [{ ...key, createdAt: new Date().toISOString() }] };
  await writeFile(join(dataDirectory, 'keys.json'), JSON.stringify(keys), { mode: 0o600 });
  const service = await startLoradrop(t, 'start', {
    DATA_DIR: dataDirectory,
    BUNDLES_DIR: join(root, 'bundles'),
    STORE_URL: join(root, 'store'),
    LINK_SECRET: 'link-secret-of-tests-0123456789-abcdef',
    LOG_LEVEL: 'info',
  });
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', prefer: 'wait=60' };
  // Something that can be found: the lists show it, and their ids are asked for.
  for (const [path, body] of [
    ['/generate/made', { prompts: ['Which gas do plants take in?'], seed: 1 }],
    ['/names/main', { adapter: 'made' }],
  ] as const) {
    const url = new URL(path, service.url);
    const response = await fetch(url, { method: 'PUT', headers, body: JSON.stringify(body) });
    t.ok(response.ok, `${path} is there`);
  }
  const openai = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: KEY, maxRetries: 0 });
  const row = '{"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A"}]}';
  const file = await openai.files.create({
    file: await toFile(Buffer.from(row), 'rows.jsonl'),
    purpose: 'fine-tune',
  });
  await openai.fineTuning.jobs.create({ model: UNTRAINED_BUNDLE_ID, training_file: file.id });

  const configuration = ['--config-file', join(import.meta.dirname, 'schemathesis.toml')];
  const amount = ['--max-examples', examples, '--seed', seed, '--no-shrink', '--continue-on-failure'];
  const quiet = ['--generation-database', 'none', '--no-color', '--warnings', 'off'];
  const chosen = paths === undefined ? [] : ['--include-path-regex', paths];
  const access = ['-H', `Authorization: Bearer ${KEY}`];
  const child = spawn(
    program,
    [
      ...configuration,
      'run',
      `${service.url}/openapi.json`,
      '--checks',
      'all',
      ...chosen,
      ...access,
      ...amount,
      ...quiet,
    ],
    {
      cwd: root,
      env: {
        ...process.env,
        SCHEMATHESIS_HOOKS: 'schemathesis_checks',
        PYTHONPATH: import.meta.dirname,
        PYTHONDONTWRITEBYTECODE: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk));
  const [code] = await once(child, 'exit');
  t.equal(code, 0, `no disagreement${code === 0 ? '' : `\n${printed}`}`);
  const generated = Number(/(\d+) generated/.exec(printed)?.[1]);
  t.ok(paths !== undefined || generated > 2000, `${generated} cases were made`);
  t.comment(`${generated} cases, seed ${seed}`);
  t.notMatch(service.output(), /"level":[56]0/, 'nothing failed inside the service');
});

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { renderDocs } from '../../src/cli/docs.ts';

const root = join(import.meta.dirname, '..', '..');

test('the generated files are those the code makes (else run `npm run docs`)', async (t) => {
  const docs = await renderDocs(root);
  t.strictSame(
    [...docs.keys()],
    [
      'openapi/openapi.json',
      '.env.example',
      'THIRD_PARTY_NOTICES.md',
      'k8s/components/monitoring/prometheus-rule.yaml',
      'k8s/components/monitoring/dashboard.json',
      'docs/settings.md',
      'docs/troubleshooting.md',
    ],
  );
  for (const [path, text] of docs) {
    if (path === 'docs/settings.md')
      t.match(text, /^\| `PORT` \| `--port` \| `8080` \|/m, 'it has the settings');
    if (path === 'docs/troubleshooting.md')
      t.match(text, /^\| `queue-full` \| 429 \|/m, 'it has the failures');
    t.ok(text === (await readFile(join(root, path), 'utf8')), `${path} is up to date`);
  }
});

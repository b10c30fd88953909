import { glob, readFile, stat } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { test } from 'tap';

const root = join(import.meta.dirname, '..');
const FOLDERS = ['*.md', 'docs/*.md', 'docker/*.md', 'training/*.md', 'src/models/default/*.md'];

/** The anchors of a page, as GitHub makes them of its headings. */
function anchorsOf(text: string): Set<string> {
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '');
  return new Set(
    [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(/\s/g, '-'),
    ),
  );
}

test('every link between pages leads somewhere', async (t) => {
  const pages = new Map<string, string>();
  for await (const page of glob(FOLDERS, { cwd: root })) {
    pages.set(page, await readFile(join(root, page), 'utf8'));
  }
  t.ok(pages.size > 10);
  let links = 0;
  for (const [page, text] of pages) {
    const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '');
    for (const [, target] of prose.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)) {
      links += 1;
      const [path = '', anchor] = target!.split('#');
      const file = path === '' ? page : normalize(join(dirname(page), path));
      const there = await stat(join(root, file)).then(
        () => true,
        () => false,
      );
      t.ok(there, `${page}: ${target}`);
      const other = pages.get(file);
      if (there && anchor !== undefined && other !== undefined) {
        t.ok(anchorsOf(other).has(anchor), `${page}: ${target} names a heading`);
      }
    }
  }
  t.ok(links > 30);
});

test('every page is in the index of the documentation', async (t) => {
  const index = await readFile(join(root, 'docs', 'README.md'), 'utf8');
  for await (const page of glob('*.md', { cwd: join(root, 'docs') })) {
    if (page !== 'README.md') t.ok(index.includes(`](${page})`), page);
  }
  t.ok(
    (await readFile(join(root, 'README.md'), 'utf8')).split('\n').length <= 150,
    'the front page is short',
  );
});

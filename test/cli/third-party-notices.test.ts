import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import packageJson from '../../package.json' with { type: 'json' };
import { productionPackages, WITHOUT_LICENCE_FILE } from '../../src/cli/third-party-notices.ts';

const root = join(import.meta.dirname, '..', '..');
const read = (name: string) => readFile(join(root, name), 'utf8');

/** Terms that go together with Apache-2.0 and ask for no more than their own text. */
const TERMS = new Set([
  'MIT',
  'Apache-2.0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  '(BSD-2-Clause OR MIT OR Apache-2.0)',
  '(MIT OR CC0-1.0)',
]);

test('the project is under Apache-2.0 wherever that is said', async (t) => {
  t.equal(packageJson.license, 'Apache-2.0');
  t.match(
    await read('LICENSE'),
    /Apache License\s+Version 2\.0, January 2004[\s\S]*END OF TERMS AND CONDITIONS/,
  );
  t.match(await read('README.md'), /\[Apache License 2\.0\]\(LICENSE\)/);
  t.match(await read('Dockerfile'), /LABEL .*org\.opencontainers\.image\.licenses="Apache-2\.0"/);
  t.match(await read('Dockerfile'), /^COPY .*LICENSE THIRD_PARTY_NOTICES\.md/m);
  for (const file of ['LICENSE', 'THIRD_PARTY_NOTICES.md']) {
    t.ok((await read('.dockerignore')).split('\n').includes(`!${file}`), `${file} reaches the build`);
  }
});

test('every package of production has terms that fit, and its text or a place in the notices', async (t) => {
  const packages = productionPackages(await read('package-lock.json'));
  t.ok(packages.length > 200);
  for (const { name, licence } of packages) t.ok(TERMS.has(licence), `${name}: ${licence}`);
  t.notOk(
    packages.some(({ name }) => name === 'tap' || name === 'typescript'),
    'development is left out',
  );
  const names = new Set(packages.map(({ name }) => name));
  for (const name of Object.keys(packageJson.dependencies)) t.ok(names.has(name), name);
  for (const name of Object.keys(WITHOUT_LICENCE_FILE)) t.ok(names.has(name), `${name} is still there`);
  for (const name of names) {
    // Not every package is for this system, and binaries go with the package that picks one of them.
    const files = await readdir(join(root, 'node_modules', name)).catch(() => undefined);
    if (!files || Object.keys(WITHOUT_LICENCE_FILE).some((owner) => isOf(name, owner))) continue;
    t.ok(
      files.some((file) => /^(licen[cs]e|copying)/i.test(file)),
      `${name} has the text of its licence`,
    );
  }
});

/** Whether the package is that one, or one of its binaries: `@reflink/reflink-linux-x64-gnu` of `@reflink/reflink`. */
function isOf(name: string, owner: string): boolean {
  return name === owner || name.startsWith(`${owner}-`) || name.startsWith(`@${owner}/${owner}-`);
}

/** `THIRD_PARTY_NOTICES.md`: whose work comes with Loradrop, and under which terms. Made from the lock file. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A package that an installation for production may have. */
export type ThirdPartyPackage = { readonly name: string; readonly version: string; readonly licence: string };

type LockFile = {
  readonly packages: Readonly<
    Record<
      string,
      {
        name?: string;
        version?: string;
        license?: string;
        dependencies?: Readonly<Record<string, string>>;
        optionalDependencies?: Readonly<Record<string, string>>;
        peerDependencies?: Readonly<Record<string, string>>;
      }
    >
  >;
};

/** Packages under the Apache License 2.0 that come without its text, with whom they name as author; our `LICENSE` has it. */
const APACHE_WITHOUT_FILE: Readonly<Record<string, string>> = {
  '@aws-sdk/credential-provider-http': 'the AWS SDK for JavaScript Team',
  '@aws-sdk/credential-provider-login': 'the AWS SDK for JavaScript Team',
  '@aws-sdk/nested-clients': 'the AWS SDK for JavaScript Team',
};

/** Packages under the MIT licence that come without its text, which has to go with them. */
const MIT_WITHOUT_FILE: Readonly<Record<string, string>> = {
  '@reflink/reflink': 'the authors of https://github.com/pnpm/reflink',
  '@simple-git/argv-parser': 'the authors of https://github.com/steveukx/git-js',
  'abstract-logging': 'James Sumners',
  'gearhash-jit': 'its authors, who name neither themselves nor a repository',
  'msgpackr-extract': 'Kris Zyp (its packages of binaries)',
  'onnxruntime-common': 'Microsoft Corporation',
  'onnxruntime-node': 'Microsoft Corporation',
  'pg-types': 'Brian M. Carlson',
  pgpass: 'Hannes Hörl',
  'simple-git': 'Steve King',
};

/** Packages that come without the text of their licence, with whom they name as author; a test looks for others. */
export const WITHOUT_LICENCE_FILE: Readonly<Record<string, string>> = {
  ...APACHE_WITHOUT_FILE,
  ...MIT_WITHOUT_FILE,
};

const listed = (packages: Readonly<Record<string, string>>) =>
  Object.entries(packages)
    .map(([name, author]) => `- ${name}: © ${author}`)
    .join('\n');

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

/**
 * The packages of a lock file that an installation for production has, on any system, each once and in order: what the root
 * depends on, and its optional peers, which the images have. npm's own marks (`dev`, `devOptional`) do not tell: they say of a
 * package what else uses it.
 */
export function productionPackages(lockFile: string): ThirdPartyPackage[] {
  const { packages } = JSON.parse(lockFile) as LockFile;
  const places = new Set<string>();
  const visit = (from: string, name: string): void => {
    const place = placeOf(packages, from, name);
    if (place === undefined || places.has(place)) return;
    places.add(place);
    const { dependencies, optionalDependencies } = packages[place]!;
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) visit(place, each);
  };
  const { dependencies, peerDependencies } = packages['']!;
  for (const name of Object.keys({ ...dependencies, ...peerDependencies })) visit('', name);
  const found = new Map<string, ThirdPartyPackage>();
  for (const place of places) {
    const { name = place.split('node_modules/').at(-1)!, ...entry } = packages[place]!;
    const { version = '', license: licence = 'not stated' } = entry;
    found.set(`${name}@${version}`, { name, version, licence });
  }
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

/** Where a package finds another one: in its own directory, or in one above. */
function placeOf(packages: LockFile['packages'], from: string, name: string): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    const place = `${at === '' ? '' : `${at}/`}node_modules/${name}`;
    if (place in packages) return place;
    if (at === '') return undefined;
  }
}

/** The text of `THIRD_PARTY_NOTICES.md` for a repository root. */
export async function renderThirdPartyNotices(root: string): Promise<string> {
  const lockFile = await readFile(join(root, 'package-lock.json'), 'utf8');
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    dependencies: Readonly<Record<string, string>>;
  };
  const packages = productionPackages(lockFile);
  const byLicence = Map.groupBy(packages, ({ licence }) => licence);
  const lists = [...byLicence]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([licence, group]) =>
        `### ${licence}\n\n${group.map(({ name, version }) => `- ${name} ${version}`).join('\n')}\n`,
    );
  return `# Third-party notices

Generated by \`npm run docs\`; do not edit. Loradrop itself is under the Apache License 2.0 (\`LICENSE\`). What comes with it:

## In this repository

- \`src/models/default/\`, the generator that ships: its terms, and those of what it was trained on, are in its \`MODEL_CARD.md\`.
- \`src/models/bert-uncased/\`, the vocabulary of BERT: Apache-2.0, see the \`NOTICE\` beside it. \`src/models/default/tokenizer.json\` is
  made from it.

## In the package

The npm packages listed below, except those of \`node-llama-cpp\`: each has its licence in its directory of \`node_modules/loradrop/node_modules\`,
except those under [without a file of their own](#without-a-file-of-their-own). Of each there are the files that Loradrop uses.

## In the images

- Node.js and Debian's packages: \`/usr/local/LICENSE\` and \`/usr/share/doc/*/copyright\`.
- npm packages, listed below: each has its licence in its directory of \`/app/node_modules\`, except those under
  [without a file of their own](#without-a-file-of-their-own).
- ONNX Runtime's library, in \`onnxruntime-node\`: MIT, © Microsoft Corporation. It is built with the projects named in
  https://github.com/microsoft/onnxruntime/blob/v${dependencies['onnxruntime-node']}/ThirdPartyNotices.txt
- llama.cpp and ggml, in \`@node-llama-cpp/*\`: MIT, © The ggml authors.
- PostgreSQL, in \`@electric-sql/pglite\`: the PostgreSQL Licence, © The PostgreSQL Global Development Group and The Regents of the
  University of California.
- \`cuda\` alone: ONNX Runtime's CUDA provider (MIT) and NVIDIA's CUDA and cuDNN libraries under NVIDIA's own terms. Their licences are in
  \`/app/licences\`.

## npm packages

${packages.length} packages, of which an installation has those for its system.

${lists.join('\n')}
## Without a file of their own

These come without the text of the Apache License 2.0, which is in \`LICENSE\`:

${listed(APACHE_WITHOUT_FILE)}

And these without the text of the MIT licence:

${listed(MIT_WITHOUT_FILE)}

${MIT}
`;
}

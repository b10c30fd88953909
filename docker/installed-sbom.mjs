// Prints a software bill of materials (CycloneDX 1.5): the npm packages that are in `node_modules` of the working directory, with
// versions, digests and licences. `npm sbom` was tried first: without the installed development packages it fails, and from the
// lock file alone it left out 71 of 305 packages.
import { existsSync, readFileSync } from 'node:fs';

const { name, version, packages } = JSON.parse(readFileSync('node_modules/.package-lock.json', 'utf8'));
const components = Object.entries(packages)
  .filter(([path, { dev = false }]) => !dev && existsSync(`${path}/package.json`))
  .map(([path, { name = path.split('node_modules/').at(-1), version, license, integrity = '' }]) => {
    const [, digest] = /^sha512-([A-Za-z0-9+/=]+)/.exec(integrity) ?? [];
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    return {
      type: 'library',
      'bom-ref': `${purl}#${path}`,
      name,
      version,
      purl,
      ...(license && {
        licenses: [/ (OR|AND) /.test(license) ? { expression: license } : { license: { name: license } }],
      }),
      ...(digest && { hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }] }),
    };
  });
const component = { type: 'application', 'bom-ref': name, name, version };
process.stdout.write(
  `${JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, metadata: { component }, components }, null, 1)}\n`,
);

/**
 * Makes `loradrop-VERSION.tgz`, the package that is released: JavaScript and, inside it, everything that the service needs.
 *
 * A package of names alone would fetch 200 packages and 500 MB: ONNX Runtime has the binaries of every system in one
 * package, and no setting of a package keeps its dependencies from bringing what they bring. So the dependencies are bundled,
 * at the locked versions, and of each the files that the program can reach (found by `@vercel/nft`), with its licence.
 * An installation then needs no install script and no other package.
 */
import { execFileSync } from 'node:child_process';
import { cp, glob, lstat, mkdir, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { nodeFileTrace } from '@vercel/nft';
import { build, ROOT } from './build.ts';

/** Systems that the package has ONNX Runtime's binaries for, as Node names them. */
const SYSTEMS = ['linux/x64', 'linux/arm64', 'darwin/arm64'];
/** Loaded by a name that is no import, or started as a process. */
const ENTRIES = [
  'dist/main.js',
  'dist/inference/child.js',
  'dist/prompts/reading-process.js',
  'dist/chat/child.js',
  'dist/evaluation/validation-process.js',
];
/** Found by their names at run time: pino starts one in a worker, the others are sent to browsers. */
const PACKAGES_BY_NAME = ['pino-pretty', 'preact', 'preact/hooks', 'htm'];
/** Binaries, which are found by names that are put together; the macOS library is there twice, under its short name too. */
const BINARIES = [
  ...SYSTEMS.map((system) => `node_modules/onnxruntime-node/bin/napi-v6/${system}/!(*.1.*.dylib)`),
  ...SYSTEMS.map(
    (system) => `node_modules/fs-native-extensions/prebuilds/${system.replace('/', '-')}/*.node`,
  ),
];
/** Pages for browsers, which the trace takes for programs. */
const NOT_PROGRAMS = '@fastify/swagger-ui/static/';
const LICENCES = /^(licen[cs]e|notice|copying|third.?party)/i;

type Manifest = Record<string, unknown> & {
  name: string;
  version: string;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
};

const readManifest = async (directory: string) =>
  JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Manifest;

/** The directory of the package that a file belongs to, below the repository, or undefined for a file of ours. */
const packageOf = (file: string) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0];

/** The files of dependencies that the built program can reach, below the repository. */
async function reachableFiles(): Promise<Set<string>> {
  const byName = PACKAGES_BY_NAME.map((name) => import.meta.resolve(name).slice('file://'.length));
  const { fileList } = await nodeFileTrace([...ENTRIES.map((entry) => join(ROOT, entry)), ...byName], {
    base: ROOT,
    processCwd: ROOT,
    // Paths that the program puts together at run time are taken for files of the repository, such as data that tests make and remove.
    ignore: (path) =>
      !/^(dist|node_modules)\//.test(path) ||
      /node_modules\/(node-llama-cpp|react|react-dom|typescript)\//.test(path),
  });
  const files = new Set([...fileList].filter((file) => packageOf(file) !== undefined));
  for (const file of files) if (/onnxruntime-node\/bin\//.test(file)) files.delete(file);
  for (const pattern of BINARIES) for await (const file of glob(pattern, { cwd: ROOT })) files.add(file);
  for await (const file of glob(`node_modules/${NOT_PROGRAMS}**/*.*`, { cwd: ROOT })) {
    if (!file.endsWith('.map')) files.add(file);
  }
  return files;
}

/** Copies the files with licences and manifests. What a manifest asks for beyond them would be fetched again: it is left out. */
async function bundleInto(stage: string, files: Set<string>): Promise<void> {
  const packages = new Set([...files].map((file) => packageOf(file)!));
  for (const directory of packages) {
    for (const name of await readdir(join(ROOT, directory))) {
      if (LICENCES.test(name)) files.add(join(directory, name));
    }
  }
  for (const file of files) {
    if (!(await lstat(join(ROOT, file))).isFile() || file.endsWith('/package.json')) continue;
    await mkdir(dirname(join(stage, file)), { recursive: true });
    await cp(join(ROOT, file), join(stage, file));
  }
  for (const file of files) {
    if (file.endsWith('/package.json') && !packages.has(dirname(file))) {
      await cp(join(ROOT, file), join(stage, file));
    }
  }
  const present = (from: string, name: string) => {
    for (let at = from; ; at = at.slice(0, at.lastIndexOf('/node_modules/'))) {
      if (packages.has(`${at}/node_modules/${name}`)) return true;
      if (!at.includes('/node_modules/')) return packages.has(`node_modules/${name}`);
    }
  };
  for (const directory of packages) {
    const {
      scripts: _scripts,
      devDependencies: _dev,
      peerDependencies: _peers,
      peerDependenciesMeta: _peersMeta,
      optionalDependencies,
      files: _files,
      ...manifest
    } = await readManifest(join(ROOT, directory));
    const wanted = { ...manifest.dependencies, ...optionalDependencies };
    const dependencies = Object.fromEntries(
      Object.entries(wanted).filter(([name]) => present(directory, name)),
    );
    await writeFile(
      join(stage, directory, 'package.json'),
      `${JSON.stringify({ ...manifest, dependencies }, null, 2)}\n`,
    );
  }
}

/**
 * The manifest of the package: that of the repository without what is for development, and with its dependencies inside. One of
 * which only types are used is not there.
 */
function releasedManifest(manifest: Manifest, files: ReadonlySet<string>): Manifest {
  const {
    private: _private,
    scripts: _scripts,
    devDependencies: _dev,
    overrides: _overrides,
    allowScripts: _allow,
    ...released
  } = manifest;
  const dependencies = Object.fromEntries(
    Object.entries(manifest.dependencies ?? {}).filter(([name]) =>
      files.has(`node_modules/${name}/package.json`),
    ),
  );
  return {
    ...(released as Manifest),
    os: [...new Set(SYSTEMS.map((system) => system.split('/')[0]))],
    dependencies,
    bundleDependencies: Object.keys(dependencies),
  };
}

/** Builds, bundles and packs. Answers the path of the file, in `directory`. */
export async function makePackage(directory: string): Promise<string> {
  await build();
  const stage = join(ROOT, 'dist', '.package');
  const manifest = await readManifest(ROOT);
  const files = await reachableFiles();
  await rm(stage, { recursive: true, force: true });
  await mkdir(stage, { recursive: true });
  for (const entry of manifest['files'] as string[]) {
    for await (const path of glob(entry, { cwd: ROOT })) {
      if (path !== 'dist') await cp(join(ROOT, path), join(stage, path), { recursive: true });
    }
  }
  for (const name of await readdir(join(ROOT, 'dist'))) {
    if (name !== '.package')
      await cp(join(ROOT, 'dist', name), join(stage, 'dist', name), { recursive: true });
  }
  for (const name of ['README.md', 'LICENSE']) await cp(join(ROOT, name), join(stage, name));
  await bundleInto(stage, files);
  await writeFile(
    join(stage, 'package.json'),
    `${JSON.stringify(releasedManifest(manifest, files), null, 2)}\n`,
  );
  const printed = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', directory],
    {
      cwd: stage,
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    },
  );
  await rm(stage, { recursive: true });
  const [packed] = Object.values(JSON.parse(printed) as Record<string, { filename: string }>);
  return join(directory, packed!.filename);
}

if (import.meta.main) {
  const directory = await realpath(process.argv[2] ?? ROOT);
  process.stdout.write(`${await makePackage(directory)}\n`);
}

import { glob, readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'tap';

const root = join(import.meta.dirname, '..', 'src');

/**
 * Who may import whom, as CONTRIBUTING.md explains. A bare name allows the whole room; `room/file` or `room/folder`
 * narrows it.
 */
const ALLOWED: Record<string, readonly string[]> = {
  base: [],
  prompts: ['base'],
  onnx: ['base'],
  lora: ['base'],
  tokenizer: ['base'],
  adapter: ['base', 'lora'],
  arithmetic: ['base', 'lora', 'adapter'],
  config: ['base'],
  observability: ['base'],
  models: ['base', 'lora', 'adapter'],
  'models/import': ['base', 'lora', 'adapter', 'onnx', 'tokenizer', 'models'],
  inference: ['base', 'observability', 'tokenizer', 'lora', 'onnx', 'models'],
  store: ['base'],
  evaluation: ['base'],
  chat: [
    'base',
    'observability',
    'evaluation/base-facts',
    'evaluation/chat-prompt',
    'evaluation/errors',
    'evaluation/llama',
  ],
  access: ['base'],
  webhooks: ['base', 'observability'],
  serving: ['base', 'observability'],
  queue: ['base', 'observability'],
  jobs: [
    'base',
    'observability',
    'lora',
    'adapter',
    'arithmetic',
    'models',
    'inference',
    'store',
    'queue',
    'serving',
    'webhooks',
    'evaluation/statistics',
    'evaluation/validation-protocol',
  ],
  finetuning: ['base', 'evaluation/statistics', 'jobs/catalog', 'jobs/generate-queue', 'jobs/validations'],
  'hub-view': ['base', 'store', 'models/licence', 'jobs/adapter-info'],
  console: ['base', 'client'],
  http: [
    'base',
    'chat',
    'console/files',
    'finetuning',
    'hub-view',
    'observability',
    'prompts',
    'access',
    'arithmetic/errors',
    'arithmetic/norms',
    'arithmetic/plan',
    'arithmetic/steps',
    'lora/layout',
    'jobs/adapter-info',
    'jobs/catalog',
    'jobs/copies',
    'jobs/deliveries',
    'jobs/deployment',
    'jobs/deployments',
    'jobs/generate-queue',
    'jobs/notify',
    'jobs/stored-peft',
    'jobs/validations',
    'queue/queue',
    'queue/cursor',
    'queue/errors',
    'queue/request-rates',
    'models',
    'store',
    'adapter',
    'serving',
    'webhooks',
  ],
  client: [],
  cli: [
    'base',
    'client',
    'chat',
    'config',
    'access',
    'compose',
    'observability',
    'http',
    'prompts',
    'jobs',
    'models',
    'adapter',
    'arithmetic',
    'lora',
    'inference',
    'evaluation',
    'webhooks',
    'store',
  ],
  compose: [
    'base',
    'chat',
    'config',
    'evaluation/validate',
    'access',
    'observability',
    'lora',
    'adapter',
    'models',
    'inference',
    'store',
    'queue',
    'jobs',
    'http',
    'serving',
    'webhooks',
  ],
  main: ['base', 'cli'],
};

/** Packages that only one room may know, so that each can be replaced in one place. */
const OWNERS: Record<string, readonly string[]> = {
  bullmq: ['queue'],
  'fs-native-extensions': ['queue'],
  'ml-matrix': ['arithmetic'],
  'rate-limiter-flexible': ['queue'],
  ioredis: ['queue'],
  pg: ['queue'],
  '@electric-sql/pglite': ['queue'],
  'onnxruntime-node': ['inference'],
  '@huggingface/hub': ['models'],
  '@huggingface/jinja': ['evaluation'],
  'node-llama-cpp': ['evaluation', 'chat'],
  '@aws-sdk/client-s3': ['store'],
  '@aws-sdk/s3-request-presigner': ['store'],
  fastify: ['http', 'compose'],
  '@fastify/busboy': ['http'],
  '@fastify/fast-json-stringify-compiler': ['http'],
  preact: ['console'],
  htm: ['console'],
  protobufjs: ['onnx'],
  yaml: ['models'],
  yauzl: ['models'],
  'csv-parse': ['prompts'],
  hyparquet: ['prompts'],
  'prom-client': ['observability'],
  '@opentelemetry/api': ['observability'],
  '@opentelemetry/core': ['observability'],
  '@opentelemetry/exporter-trace-otlp-proto': ['observability'],
  '@opentelemetry/resources': ['observability'],
  '@opentelemetry/sdk-trace': ['observability'],
  pino: ['observability'],
  commander: ['cli'],
  'cli-progress': ['cli'],
};

type Import = {
  readonly file: string;
  readonly specifier: string;
  /** Loaded with the file that names it: neither a type alone nor later, by `import()`. */
  readonly isLoadedAtOnce: boolean;
};

async function readImports(): Promise<Import[]> {
  const found: Import[] = [];
  for await (const file of glob('**/*.ts', { cwd: root })) {
    const text = await readFile(join(root, file), 'utf8');
    for (const match of text.matchAll(
      /(?:^|\n)\s*(?:import|export)\s[^'";]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|new URL\(\s*'(\.[^']+\.ts)'/g,
    )) {
      const isLoadedAtOnce = match[1] !== undefined && !/^\s*(import|export)\s+type\b/.test(match[0]);
      found.push({ file, specifier: (match[1] ?? match[2] ?? match[3])!, isLoadedAtOnce });
    }
  }
  return found;
}

/** The most specific key of the table for a path below src. */
function roomOf(path: string): string {
  const parts = path.replace(/\.ts$/, '').split('/');
  const nested = parts.slice(0, 2).join('/');
  return nested in ALLOWED ? nested : parts[0]!;
}

test('every import goes the way the room table allows', async (t) => {
  const imports = await readImports();
  t.ok(imports.length > 100, 'the scan finds the imports');
  for (const { file, specifier } of imports) {
    if (!specifier.startsWith('.')) continue;
    const target = normalize(join(dirname(file), specifier)).replace(/\.ts$/, '');
    if (target === '../package.json') continue;
    t.notOk(target.startsWith('..'), `${file} stays inside src`);
    const from = roomOf(file);
    const to = roomOf(target);
    if (from === to) continue;
    const allowed = ALLOWED[from];
    t.ok(allowed, `${file} lies in a room of the table`);
    t.ok(
      (allowed?.some((entry) => target === entry || target.startsWith(`${entry}/`)) &&
        to !== 'models/import') ||
        (to === 'models/import' && ['cli', 'compose', 'models'].includes(from)),
      `${from} may import ${relative('.', target)} (in ${file})`,
    );
  }
});

test('a package is known only to the room that owns it', async (t) => {
  const manifest = JSON.parse(await readFile(join(root, '..', 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
    peerDependencies: Record<string, string>;
  };
  const dependencies = { ...manifest.dependencies, ...manifest.peerDependencies };
  const used = new Set<string>();
  for (const { file, specifier } of await readImports()) {
    if (specifier.startsWith('.')) continue;
    if (specifier.startsWith('node:')) {
      t.ok(isBuiltin(specifier), `${specifier} exists (in ${file})`);
      continue;
    }
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    used.add(name);
    t.ok(name in dependencies, `${name} is a dependency (in ${file})`);
    const owners = OWNERS[name];
    if (owners) t.ok(owners.includes(file.split('/')[0]!.replace(/\.ts$/, '')), `${file} may know ${name}`);
  }
  // pino loads its pretty-printer by name in a worker.
  const unused = Object.keys(dependencies).filter((name) => !used.has(name) && name !== 'pino-pretty');
  t.strictSame(unused, [], 'no dependency without a use');
});

/** Files that may end their process. */
const ENDING = [
  'chat/child.ts',
  'inference/child.ts',
  'evaluation/validation-process.ts',
  'cli/stop-signals.ts',
];

test('the process ends, and reads its environment, in one place each', async (t) => {
  const exits: string[] = [];
  const environment: string[] = [];
  for await (const file of glob('**/*.ts', { cwd: root })) {
    const text = await readFile(join(root, file), 'utf8');
    if (/process\.exit(Code)?\b/.test(text)) exits.push(file);
    // Browsers have none: there it is in a text that people are shown.
    if (/process\.env\b/.test(text) && file !== 'console/page/snippets.ts') environment.push(file);
  }
  t.strictSame(
    // Processes that hold native code, and process 1 of a container at a second signal, have no other way.
    exits.filter((file) => !ENDING.includes(file)),
    ['main.ts'],
  );
  // The other one does not read a setting: it sets what a library reads when it is loaded.
  t.strictSame(environment.sort(), ['config/load.ts', 'inference/no-telemetry.ts']);
});

test('the list of commands loads none of them, so that help and wrong usage are quick', async (t) => {
  const imports = (await readImports()).filter(({ isLoadedAtOnce }) => isLoadedAtOnce);
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    for (const { specifier } of imports.filter((each) => each.file === file)) {
      if (specifier.endsWith('.json') || specifier.startsWith('node:')) continue;
      if (specifier.startsWith('.')) visit(normalize(join(dirname(file), specifier)));
      else packages.add(specifier);
    }
  };
  visit('main.ts');
  t.ok(files.has('cli/program.ts'));
  t.strictSame([...packages].sort(), ['cli-progress', 'commander']);
  t.notOk(files.has('compose.ts'));
});

test('nothing of OpenTelemetry is loaded unless it is asked for', async (t) => {
  const imports = (await readImports()).filter(({ isLoadedAtOnce }) => isLoadedAtOnce);
  const users = new Set(
    imports.filter(({ specifier }) => specifier.startsWith('@opentelemetry/')).map(({ file }) => file),
  );
  t.strictSame([...users], ['observability/open-tracing.ts']);
  t.strictSame(
    imports.filter(({ specifier }) => specifier.endsWith('/open-tracing.ts')),
    [],
  );
});

test('no import goes round in a circle', async (t) => {
  const graph = new Map<string, string[]>();
  for (const { file, specifier } of await readImports()) {
    if (!specifier.startsWith('.')) continue;
    graph.set(file, [...(graph.get(file) ?? []), normalize(join(dirname(file), specifier))]);
  }
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      t.fail(`circle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`);
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  t.ok(done.size > 0);
});

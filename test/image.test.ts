import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import packageJson from '../package.json' with { type: 'json' };
import { loadConfig } from '../src/config/load.ts';
import { ConfigSchema, environmentName } from '../src/config/schema.ts';
import { PROBE_ROUTES } from '../src/http/routes/probes.ts';
import { startLoradrop } from './helpers/loradrop-process.ts';

const root = join(import.meta.dirname, '..');
const read = (name: string) => readFile(join(root, name), 'utf8');
const run = promisify(execFile);

/** An instruction of the Dockerfile, in the stage that it belongs to. */
type Instruction = { readonly stage: string; readonly name: string; readonly text: string };

async function instructions(): Promise<Instruction[]> {
  const joined = (await read('Dockerfile')).replace(/^\s*#.*\n/gm, '').replace(/\\\n\s*/g, ' ');
  let stage = '';
  return joined
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [, name = '', text = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
      if (name === 'FROM') stage = / AS (\w[\w-]*)$/.exec(text)?.[1] ?? '';
      return { stage, name, text };
    });
}

/** The last of its kind that holds in a stage, those of the stages below it among them. */
async function effective(stage: string, name: string): Promise<string | undefined> {
  const all = await instructions();
  for (let at: string | undefined = stage; at; ) {
    const found = all.filter((each) => each.stage === at && each.name === name).at(-1);
    if (found) return found.text;
    at = /^(\w+) AS/.exec(all.find((each) => each.stage === at && each.name === 'FROM')?.text ?? '')?.[1];
  }
  return undefined;
}

test('the images have the versions that the tests have', async (t) => {
  const [, node] = /^ARG NODE_IMAGE=node:([\d.]+)-/m.exec(await read('Dockerfile')) ?? [];
  t.equal(node, packageJson.devDependencies.node);
  const [, provider] = /^onnxruntime-gpu==([\d.]+) /m.exec(await read('docker/cuda-requirements.txt')) ?? [];
  t.equal(provider, packageJson.dependencies['onnxruntime-node'], 'a provider fits its own release alone');
});

test('every instruction is one that can be carried out', async (t) => {
  const all = await instructions();
  const known = [
    'ARG',
    'FROM',
    'WORKDIR',
    'COPY',
    'RUN',
    'LABEL',
    'ENV',
    'USER',
    'VOLUME',
    'EXPOSE',
    'HEALTHCHECK',
    'ENTRYPOINT',
    'CMD',
  ];
  const context = new Set(
    (await read('.dockerignore'))
      .split('\n')
      .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : [])),
  );
  const stages = new Set<string>();
  const settings = new Set(Object.keys(ConfigSchema.properties).map(environmentName));
  for (const { name, text, stage } of all) {
    t.ok(known.includes(name), `${name} is an instruction`);
    if (name === 'FROM') {
      const [, from] = /^(\S+) AS \w/.exec(text) ?? [];
      t.ok(
        from === '$' + '{NODE_IMAGE}' || stages.has(from!),
        `${text}: a stage before, or the one base image`,
      );
      stages.add(stage);
    }
    if (name === 'COPY') {
      const from = /^--from=(\S+) /.exec(text)?.[1];
      if (from) t.ok(stages.has(from), `COPY --from=${from}`);
      else {
        for (const source of text.split(/\s+/).slice(0, -1)) {
          t.ok(await stat(join(root, source)), `${source} is there`);
          t.ok(context.has(source), `${source} is in the build context`);
        }
      }
    }
    if (name === 'RUN') {
      const shell = spawn('sh', ['-n', '-c', text], { stdio: 'ignore' });
      const [code] = await once(shell, 'exit');
      t.equal(code, 0, `a shell understands: ${text.slice(0, 40)} …`);
    }
    if (name === 'ENV') {
      for (const [, variable] of text.matchAll(/(\w+)=/g)) {
        t.ok(settings.has(variable!) || variable!.startsWith('NVIDIA_'), `${variable} is a setting`);
      }
    }
  }
  for (const target of ['cpu', 'cuda']) {
    t.ok(stages.has(target));
    t.equal(await effective(target, 'USER'), '1000:1000', `${target}: numbers, and not root`);
    t.equal(await effective(target, 'CMD'), '["start"]');
  }
  const [program, entry] = JSON.parse((await effective('cpu', 'ENTRYPOINT'))!) as string[];
  t.equal(program, 'node', 'process 1 is the program, which gets the signals');
  t.equal(entry!.replace(/^\/app\//, ''), packageJson.bin.loradrop);
  const environment = Object.fromEntries(
    (await effective('service', 'ENV'))!.split(' ').map((pair) => pair.split('=') as [string, string]),
  );
  const { port, host, dataDir } = loadConfig({}, environment);
  t.equal(await effective('cpu', 'EXPOSE'), String(port));
  t.equal(await effective('cpu', 'VOLUME'), dataDir);
  t.equal(host, '0.0.0.0');
  await access(join(root, 'docker', 'fetch-cuda.sh'), constants.R_OK);
});

test('the health check tells a service that is ready from one that is not', async (t) => {
  const [, json = ''] = / CMD (\[.*\])$/.exec((await effective('cpu', 'HEALTHCHECK'))!) ?? [];
  const [, ...args] = JSON.parse(json) as string[];
  const [, path = ''] = /\}(\/\w+)`/.exec(json) ?? [];
  t.ok(PROBE_ROUTES.has(path));
  const check = async (port: string) => {
    const child = spawn(process.execPath, args, { env: { ...process.env, PORT: port }, stdio: 'ignore' });
    return (await once(child, 'exit'))[0] as number;
  };
  const service = await startLoradrop(t, 'start', { DATA_DIR: t.testdir({}) });
  const { port } = new URL(service.url);
  t.equal(await check(port), 0);
  await service.end('SIGTERM');
  t.equal(await check(port), 1);
});

test('the bill of materials names every package that is installed, with its licence', async (t) => {
  const { stdout } = await run(process.execPath, [join(root, 'docker', 'installed-sbom.mjs')], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  const { bomFormat, components } = JSON.parse(stdout) as {
    bomFormat: string;
    components: { name: string; version: string; licenses?: unknown[]; hashes?: unknown[] }[];
  };
  t.equal(bomFormat, 'CycloneDX');
  for (const name of Object.keys(packageJson.dependencies)) {
    const { version } = JSON.parse(await read(`node_modules/${name}/package.json`)) as { version: string };
    t.ok(
      components.some((each) => each.name === name && each.version === version),
      `${name} ${version}`,
    );
  }
  t.strictSame(
    components.filter(({ licenses }) => !licenses).map(({ name }) => name),
    [],
  );
  t.strictSame(
    components.filter(({ hashes }) => !hashes).map(({ name }) => name),
    [],
  );
});

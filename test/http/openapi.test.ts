import { glob, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'tap';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { loadConfig } from '../../src/config/load.ts';
import { DOCUMENTED_LIMITS, renderOpenapi } from '../../src/http/openapi.ts';
import { PROBLEMS } from '../../src/http/problem.ts';

const folder = join(import.meta.dirname, '..', '..', 'openapi');

type Operation = {
  readonly operationId: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: TSchema }>> };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Readonly<Record<string, unknown>> }>
  >;
};
type Document = {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, TSchema>> };
};

const document = async () => JSON.parse(await readFile(join(folder, 'openapi.json'), 'utf8')) as Document;

test('openapi/openapi.json is what the routes say (else: npm run docs)', async (t) => {
  t.equal(await readFile(join(folder, 'openapi.json'), 'utf8'), await renderOpenapi());
});

test('the documented limits are the defaults of the settings', async (t) => {
  const { retentionSeconds, ...config } = loadConfig({}, {});
  t.match({ ...config, defaultRetentionSeconds: retentionSeconds }, DOCUMENTED_LIMITS);
});

test('every operation is described, and every failure documented', async (t) => {
  const { paths } = await document();
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  t.ok(operations.length >= 20);
  t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length);
  const documented = new Set<string>();
  for (const { path, method, operation } of operations) {
    const name = `${method} ${path}`;
    t.ok(operation.summary, `${name} has a summary`);
    t.equal(operation.tags?.length, 1, `${name} has a tag`);
    const named = (operation.parameters ?? [])
      .filter((each) => each.in === 'path')
      .map((each) => `{${each.name}}`);
    t.strictSame(named, path.match(/\{\w+\}/g) ?? [], `${name} describes its path`);
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      t.not(description, 'Default Response', `${name} ${status} is described`);
      if (Number(status) < 400) continue;
      t.strictSame(
        Object.keys(content ?? {}),
        // Clients of OpenAI's API read its own shape.
        [path.startsWith('/v1/') ? 'application/json' : 'application/problem+json'],
        `${name} ${status} is a problem`,
      );
      for (const [, code] of description.matchAll(/^`([a-z0-9-]+)`:/gm)) {
        t.equal(PROBLEMS[code as keyof typeof PROBLEMS]?.status, Number(status), `${name} ${status} ${code}`);
        documented.add(code!);
      }
    }
  }
  const problems = JSON.stringify((await document()).components.schemas['Problem']);
  for (const code of Object.keys(PROBLEMS)) t.ok(problems.includes(`\`${code}\``), `${code} is documented`);
  t.ok(documented.size > 30);
});

test('the examples fit their schemas', async (t) => {
  const { components, paths } = await document();
  const json = (path: string, method: string) =>
    paths[path]![method]!.requestBody!.content['application/json']!.schema;
  // References inside the document are looked up by their last segment.
  const context = JSON.parse(
    JSON.stringify(components.schemas).replaceAll('#/components/schemas/', ''),
  ) as Record<string, TSchema>;
  const schemaOf = (name: string): TSchema => {
    if (name === 'GenerateRequest') return json('/generate', 'post');
    const schema = context[name];
    if (!schema) throw new Error(`no schema ${name}`);
    return schema;
  };
  const seen = new Set<string>();
  for await (const file of glob('*.json', { cwd: join(folder, 'examples') })) {
    // `Job.succeeded.json` is an example of `Job`.
    const name = basename(file).split('.')[0]!;
    const value: unknown = JSON.parse(await readFile(join(folder, 'examples', file), 'utf8'));
    const validator = Compile(context, schemaOf(name));
    t.strictSame([...validator.Errors(value)], [], file);
    t.ok(validator.Check(value), file);
    t.notOk(
      validator.Check({ ...(value as object), id: 5, prompts: 5, code: 5 }),
      `${name} would refuse others`,
    );
    seen.add(name);
  }
  t.strictSame([...seen].sort(), ['Adapter', 'GenerateRequest', 'Job', 'JobProgress', 'Model', 'Problem']);
});

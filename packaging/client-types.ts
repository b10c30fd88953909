/** Writes `src/client/types.ts`: the API's shapes as TypeScript, made from `openapi/openapi.json`. `npm run docs` runs it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compile, type JSONSchema } from 'json-schema-to-typescript';

const ROOT = join(import.meta.dirname, '..');
/** Where the types lie. */
export const CLIENT_TYPES = join(ROOT, 'src/client/types.ts');

/** Shapes that only this service's operators and Hub clients meet. */
const LEFT_OUT = ['Liveness', 'Readiness', 'Unreadiness', 'RepositoryFile', 'RepositoryInfo'];

type Operation = {
  requestBody: { content: Record<string, { schema: { anyOf?: unknown } }> };
};

/** The file's text, made anew. */
export async function renderClientTypes(): Promise<string> {
  // References point into `components`, which is OpenAPI's place for what JSON Schema calls definitions.
  const text = (await readFile(join(ROOT, 'openapi/openapi.json'), 'utf8')).replaceAll(
    '#/components/schemas/',
    '#/definitions/',
  );
  // A title makes a type of its own, a new one at each place.
  const { paths, components } = JSON.parse(text, (key, value) =>
    key === 'title' && typeof value === 'string' ? undefined : value,
  ) as {
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, object> };
  };
  const bodyOf = (path: string) => {
    // Which of two fields there must be would make a union of types that says less.
    const { anyOf: _, ...schema } = paths[path]!['post']!.requestBody.content['application/json']!.schema;
    return schema;
  };
  const schemas = Object.entries(components.schemas).filter(([name]) => !LEFT_OUT.includes(name));
  const definitions = Object.fromEntries([
    ...schemas,
    ['GenerateRequest', bodyOf('/generate')],
    ['TransformRequest', bodyOf('/adapters/{id}/transform')],
  ]);
  const source = await compile({ definitions, title: 'Unused' } as JSONSchema, 'Unused', {
    additionalProperties: false,
    bannerComment:
      '/** The shapes of the API. Made from openapi/openapi.json by `npm run docs`: change the schemas, not this file. */',
    style: { singleQuote: true, printWidth: 110 },
    unreachableDefinitions: true,
    declareExternallyReferenced: true,
    ignoreMinAndMaxItems: true,
  });
  return source
    .replace(/export interface Unused \{[^}]*\}\n/, '')
    .replace(/ One of `request-invalid`.*\.\n/g, ' `GET /problems` lists them.\n')
    .replace(/\(string \| \{\}\)\[\]/g, '(string | Record<string, unknown>)[]')
    .replace(/\n \* This (interface|type) was referenced by [^\n]*\n \* via the `definition`[^\n]*/g, '')
    .replace(/\/\*\*\n \*\/\n/g, '')
    .replace(/ \*\n \*\//g, ' */');
}

if (import.meta.main) await writeFile(CLIENT_TYPES, await renderClientTypes());

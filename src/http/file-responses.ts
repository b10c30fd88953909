/** What routes that send a file answer, for their schemas. */
import { type TSchema, Type } from 'typebox';

/** JSON files are PEFT's configuration, or what a Hub client expects in its place. */
const SCHEMAS: Readonly<Record<string, TSchema>> = {
  'application/json': Type.Object({}, { additionalProperties: true }),
  'text/plain': Type.String(),
  'text/markdown': Type.String(),
};
const Bytes = Type.String({ format: 'binary' });

/** The whole file, a range of it, or nothing where the client has it already. A range of JSON is no JSON, but bytes. */
export function fileResponses(...types: readonly string[]) {
  const content = (schemaOf: (type: string) => TSchema) =>
    Object.fromEntries(types.map((type) => [type, { schema: schemaOf(type) }]));
  return {
    200: { description: 'The whole file.', content: content((type) => SCHEMAS[type] ?? Bytes) },
    206: {
      description: 'The range.',
      content: content(() => Type.Unsafe({ description: 'Bytes of the file.' })),
    },
    304: Type.Null({ description: 'The client has it.' }),
  };
}

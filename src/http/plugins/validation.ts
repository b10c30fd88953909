/** How requests are checked against their schemas. */
import type { FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import type { FieldError, LoradropError } from '../../base/errors.ts';
import { httpErrors } from '../errors.ts';
import type { App } from '../services.ts';

/** Offending fields a refusal lists: enough to see the pattern, and an answer that stays small whatever the input. */
const MAX_LISTED_FIELDS = 20;

type Fields = Readonly<Record<string, unknown>>;

/** Texts as whole numbers and booleans where the schema wants one and the text is exactly one; all else stays for the check. */
export function valuesFromText(schema: TSchema, values: Fields): Fields {
  const properties = (schema as { properties?: Record<string, { type?: string }> }).properties ?? {};
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const type = Object.hasOwn(properties, name) ? properties[name]!.type : undefined;
      if (typeof value !== 'string') return [name, value];
      if (type === 'integer' && /^-?[0-9]+$/.test(value)) return [name, Number(value)];
      if (type === 'boolean' && /^(true|false)$/.test(value)) return [name, value === 'true'];
      return [name, value];
    }),
  );
}

/** Validates with TypeBox: nothing is coerced in a body, nothing unknown is dropped, every offending field is told. */
const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const compiled = Compile(schema);
  return (input: unknown) => {
    // Bytes are judged by the reader of their format; their schema is for the documentation.
    if (httpPart === 'body' && input instanceof Uint8Array) return { value: input };
    const inAddress = httpPart === 'querystring' || httpPart === 'params';
    const value = inAddress ? valuesFromText(schema, input as Fields) : input;
    // The quick check first: naming the errors walks through all of a large body.
    return compiled.Check(value)
      ? { value }
      : { error: compiled.Errors(value) as FastifySchemaValidationError[] };
  };
};

/** A validation outcome as a failure: ids apart, unknown fields apart, everything else `request-invalid`. */
export function refusalOf(
  errors: readonly FastifySchemaValidationError[],
  part: string | undefined,
): LoradropError {
  const fields: FieldError[] = [];
  let unknown = 0;
  for (const { keyword, instancePath, params, message = 'does not fit' } of errors) {
    // TypeBox reports an unknown field by its pointer, as the schema `false`, and all of them once more by name.
    if (keyword === 'additionalProperties') continue;
    if (keyword === 'boolean') unknown += 1;
    const { requiredProperties, allowedValue } = params as {
      requiredProperties?: string[];
      allowedValue?: unknown;
    };
    if (requiredProperties) {
      for (const name of requiredProperties) {
        fields.push({ pointer: `${instancePath}/${name}`, message: 'is missing' });
      }
    } else {
      const told = keyword === 'const' ? `must be ${JSON.stringify(allowedValue)}` : message;
      fields.push({ pointer: clip(instancePath), message: keyword === 'boolean' ? 'is not known' : told });
    }
  }
  const listed = { fields: fields.slice(0, MAX_LISTED_FIELDS) };
  if (part === 'params') return httpErrors.idInvalid('The id in the address cannot be one.', listed);
  const where = part === 'querystring' ? 'parameter' : part === 'headers' ? 'header' : 'field';
  if (unknown > 0 && unknown === fields.length)
    return httpErrors.fieldUnknown(`A ${where} is not known.`, listed);
  return httpErrors.requestInvalid(`A ${where} does not fit.`, listed);
}

/** Longest pointer that is sent back: names of unknown fields are the client's own and may be megabytes. */
const MAX_POINTER_CHARS = 200;

function clip(pointer: string): string {
  return pointer.length <= MAX_POINTER_CHARS ? pointer : `${pointer.slice(0, MAX_POINTER_CHARS)}…`;
}

/** Makes the application check requests this way. */
export function installValidation(app: App): void {
  Settings.Set({ maxErrors: MAX_LISTED_FIELDS });
  app.setValidatorCompiler(compileValidator);
}

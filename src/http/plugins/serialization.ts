/** How answers become JSON. */
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';

type BuildSerializer = ReturnType<typeof SerializerSelector>;
type Serializer = ReturnType<ReturnType<BuildSerializer>>;

/**
 * Fastify's own serializers, each compiled when an answer first needs it and once for equal schemas. Compiling those of all
 * statuses of all routes at the start, as Fastify does, took a second of processor time before an API answered at all.
 */
export const buildSerializer: BuildSerializer = (schemas, options) => {
  const compile = SerializerSelector()(schemas, options);
  const compiled = new Map<string, Serializer>();
  const serializerOf = (route: Parameters<typeof compile>[0]): Serializer => {
    const key = JSON.stringify(route.schema);
    const serialize = compiled.get(key) ?? compile(route);
    compiled.set(key, serialize);
    return serialize;
  };
  return (route) => {
    let serialize: Serializer | undefined;
    return (value) => {
      serialize ??= serializerOf(route);
      return serialize(value);
    };
  };
};

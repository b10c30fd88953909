import Fastify from 'fastify';
import { test } from 'tap';
import { buildSerializer } from '../../src/http/plugins/serialization.ts';

const JOB = {
  type: 'object',
  properties: { id: { type: 'string' }, count: { type: 'integer' } },
  additionalProperties: false,
};
/** No compiler of schemas takes it. */
const BROKEN = { type: 'object', properties: { id: { $ref: 'nobody-knows#' } } };

test('answers are the same as with serializers that are compiled at the start', async (t) => {
  const bodies = await Promise.all(
    [{}, { schemaController: { compilersFactory: { buildSerializer } } }].map(async (options) => {
      const app = Fastify(options);
      t.teardown(() => app.close());
      app.addSchema({ $id: 'Job', ...JOB });
      const response = {
        200: { $ref: 'Job#' },
        404: { content: { 'application/problem+json': { schema: JOB } } },
      };
      app.get('/found', { schema: { response } }, () => ({ id: 'a"b', count: 1, secret: 'left out' }));
      app.get('/missing', { schema: { response } }, (_request, reply) =>
        reply.code(404).type('application/problem+json').send({ id: 'c', secret: 'left out' }),
      );
      return Promise.all(['/found', '/missing', '/found'].map(async (url) => (await app.inject(url)).body));
    }),
  );
  t.strictSame(bodies[1], bodies[0]);
  t.strictSame(bodies[1], ['{"id":"a\\"b","count":1}', '{"id":"c"}', '{"id":"a\\"b","count":1}']);
});

test('a serializer is compiled when an answer needs it', async (t) => {
  const app = Fastify({ schemaController: { compilersFactory: { buildSerializer } } });
  t.teardown(() => app.close());
  app.get('/broken', { schema: { response: { 200: BROKEN } } }, () => ({ id: 'a' }));
  app.get('/whole', { schema: { response: { 200: JOB } } }, () => ({ id: 'a' }));
  t.equal((await app.inject('/whole')).body, '{"id":"a"}');
  t.equal((await app.inject('/broken')).statusCode, 500);
});

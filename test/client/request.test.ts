/** Failures under `/v1`, which the console asks by the client's requests. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'tap';
import { ProblemError } from '../../src/client/errors.ts';
import { type Connection, request } from '../../src/client/request.ts';

test('a failure in OpenAI’s shape is told like any other, and a place that is taken is waited for', async (t) => {
  const answers = [
    { status: 429, retryAfter: '0', code: 'chat-busy', message: 'Other questions are being answered.' },
    { status: 400, code: 'chat-too-long', message: 'The conversation does not fit. It has 900 tokens.' },
  ];
  let asked = 0;
  const server = createServer((_request, response) => {
    const { status, retryAfter, code, message } = answers[asked++]!;
    response
      .writeHead(status, {
        'content-type': 'application/json',
        ...(retryAfter && { 'retry-after': retryAfter }),
      })
      .end(JSON.stringify({ error: { message, type: 'x', param: null, code } }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const connection: Connection = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    key: undefined,
    fetch,
    retries: 1,
    maxRetryAfterSeconds: 1,
  };
  const failure = await request(connection, '/v1/chat/completions', { method: 'POST', body: '{}' }).catch(
    (error: unknown) => error,
  );
  t.ok(failure instanceof ProblemError);
  t.match(failure, { status: 400, code: 'chat-too-long', message: answers[1]!.message });
  t.equal(asked, 2, 'the first refusal was for a moment only');
});

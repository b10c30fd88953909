import { test } from 'tap';
import { negotiate } from '../../src/http/negotiate.ts';

const OFFERED = ['application/json', 'text/event-stream', 'application/x-tar'] as const;

test('Accept headers choose as RFC 9110 says', async (t) => {
  for (const [header, wanted] of [
    [undefined, 'application/json'],
    ['', 'application/json'],
    ['*/*', 'application/json'],
    ['text/*', 'text/event-stream'],
    ['application/*', 'application/json'],
    ['application/x-tar', 'application/x-tar'],
    ['APPLICATION/X-TAR', 'application/x-tar'],
    ['application/x-tar, */*', 'application/x-tar'],
    ['application/x-tar;q=0.2, */*;q=0.1', 'application/x-tar'],
    ['application/x-tar;q=0.2, */*;q=0.3', 'application/json'],
    ['application/json;q=0.5, text/event-stream;q=0.8', 'text/event-stream'],
    ['text/event-stream, application/json', 'application/json'],
    ['application/json;q=0, */*', 'text/event-stream'],
    ['application/*;q=0.9, application/json;q=0.1', 'application/x-tar'],
    ['application/json;charset=utf-8;q=0.3, text/html', 'application/json'],
    ['text/html, , image/*;q=0.4 , text/event-stream ; q=0.001', 'text/event-stream'],
    ['text/html', undefined],
    ['*/*;q=0', undefined],
    ['application/json;q=0.000', undefined],
    ['nonsense', undefined],
    ['*/json', undefined],
  ] as const) {
    t.equal(negotiate(header, OFFERED), wanted, String(header));
  }
});

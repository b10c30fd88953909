import { test } from 'tap';
import { crashText, withoutLogins } from '../../src/base/crash-text.ts';

test('logins go out of addresses, and everything else stays', async (t) => {
  for (const [text, shown] of [
    ['redis://u:p@h:1/0', 'redis://(secret)@h:1/0'],
    ['at redis://:p@h, then postgres://u:p@w@h/db', 'at redis://(secret)@h, then postgres://(secret)@h/db'],
    ['https://token@hub.example/a', 'https://(secret)@hub.example/a'],
    ['https://hub.example/a@b and me@example.org', 'https://hub.example/a@b and me@example.org'],
    ['file:///a/b.ts:3', 'file:///a/b.ts:3'],
    ['127.0.0.1', '127.0.0.1'],
  ] as const) {
    t.equal(withoutLogins(text), shown);
  }
});

test('a crash shows stacks and causes, and nothing that was attached', async (t) => {
  const cause = Object.assign(new Error('WRONGPASS'), { command: { args: ['AUTH', 'hunter2'] } });
  const text = crashText(new AggregateError([new Error('inner')], 'outer redis://u:hunter2@h', { cause }));
  t.match(
    text,
    /AggregateError: outer redis:\/\/\(secret\)@h[\s\S]*caused by Error: WRONGPASS[\s\S]*caused by Error: inner/,
  );
  t.match(text, /crash-text\.test\.ts:\d+/);
  t.notMatch(text, /hunter2/);
  t.equal(crashText('thrown //u:hunter2@h'), 'thrown //(secret)@h');
  const circular: Error & { cause?: unknown } = new Error('circular');
  circular.cause = circular;
  t.equal(crashText(circular).match(/caused by/g)?.length, 5);
});

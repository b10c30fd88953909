import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { test } from 'tap';
import { isWebhookSecret, newWebhookSecret, signatureHeaders } from '../../src/webhooks/sign.ts';

const body = JSON.stringify({ type: 'job.succeeded', timestamp: '2026-11-26T00:00:00Z', data: { é: '☃' } });

for (const [name, Verifier] of [
  ['standardwebhooks', StandardWebhook],
  ['svix', SvixWebhook],
] as const) {
  test(`${name} takes the signature, and nothing else`, (t) => {
    const secret = newWebhookSecret();
    const headers = signatureHeaders({ id: 'msg_1', sentAt: Date.now(), body }, [secret]);
    t.strictSame(new Verifier(secret).verify(body, headers), JSON.parse(body));
    const refuses = (change: Partial<typeof headers>, text = body, key = secret) =>
      t.throws(() => new Verifier(key).verify(text, { ...headers, ...change }));
    refuses({ 'webhook-id': 'msg_2' });
    refuses({ 'webhook-timestamp': String(Number(headers['webhook-timestamp']) - 1) });
    refuses({}, `${body} `);
    refuses({}, body, newWebhookSecret());
    refuses(signatureHeaders({ id: 'msg_1', sentAt: Date.now() - 600_000, body }, [secret]));
    t.end();
  });

  test(`${name} takes either of two signatures while a secret is rotated`, (t) => {
    const [older, newer] = [newWebhookSecret(), newWebhookSecret()];
    const headers = signatureHeaders({ id: 'msg_1', sentAt: Date.now(), body }, [newer, older]);
    for (const secret of [older, newer]) {
      t.strictSame(new Verifier(secret).verify(body, headers), JSON.parse(body));
    }
    t.throws(() => new Verifier(newWebhookSecret()).verify(body, headers));
    t.end();
  });
}

test('a secret is whsec_ and base64 of 24 to 64 bytes', (t) => {
  const of = (bytes: number) => `whsec_${Buffer.alloc(bytes, 251).toString('base64')}`;
  for (const good of [of(24), of(32), of(64), newWebhookSecret()]) t.ok(isWebhookSecret(good));
  for (const bad of [
    '',
    'whsec_',
    of(23),
    of(65),
    of(32).slice(6),
    of(32).replace(/=$/, ''),
    of(32).replaceAll('+', '-'),
    `${of(32)} `,
    of(32).replace('whsec', 'WHSEC'),
    `whsec_${'ä'.repeat(40)}`,
  ]) {
    t.notOk(isWebhookSecret(bad), bad);
  }
  t.end();
});

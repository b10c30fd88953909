import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import {
  baseErrors,
  defineErrors,
  type ErrorFactory,
  LoradropError,
  toLoradropError,
} from '../../src/base/errors.ts';

const src = join(import.meta.dirname, '..', '..', 'src');

test('a declared failure carries its code, and what the throw site adds', (t) => {
  const { full } = defineErrors({ full: { code: 'test-full', title: 'It is full.', retryable: true } });
  const cause = new Error('the reason');
  const fields = [{ pointer: '/a', message: 'is wrong' }];
  const error = full('Nothing fits.', { cause, fields, retryAfterSeconds: 3 });
  t.ok(error instanceof LoradropError);
  t.ok(error instanceof Error);
  t.match(error, {
    name: 'LoradropError',
    code: 'test-full',
    title: 'It is full.',
    message: 'Nothing fits.',
    retryable: true,
    retryAfterSeconds: 3,
  });
  t.equal(error.cause, cause);
  t.same(error.fields, fields);
  const bare = full('Nothing fits.');
  t.notOk('cause' in bare);
  t.same([bare.fields, bare.retryAfterSeconds], [[], undefined]);
  t.equal(full.spec.code, 'test-full');
  t.end();
});

test('a foreign failure becomes an internal one that tells clients nothing', (t) => {
  const ours = baseErrors.canceled('The work was canceled.');
  t.equal(toLoradropError(ours), ours);
  for (const thrown of [new Error('open /secret/path: EACCES'), 'a string', undefined]) {
    const error = toLoradropError(thrown);
    t.equal(error.code, 'internal');
    t.equal(error.cause, thrown);
    t.notOk(error.message.includes('secret'));
  }
  t.end();
});

test('every code of the code base is kebab-case, told in a sentence, and used once', async (t) => {
  const codes: string[] = [];
  let files = 0;
  for await (const file of glob('*/errors.ts', { cwd: src })) {
    files++;
    const exported = (await import(join(src, file))) as Record<string, unknown>;
    for (const table of Object.values(exported)) {
      if (table === null || typeof table !== 'object') continue;
      for (const { spec } of Object.values(table) as ErrorFactory[]) {
        codes.push(spec.code);
        t.match(spec.code, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, `${file}: ${spec.code}`);
        t.match(spec.title, /^[A-Z].*\.$/, `${file}: ${spec.title}`);
      }
    }
  }
  t.ok(files >= 8, `${files} rooms`);
  t.same(codes, [...new Set(codes)]);
});

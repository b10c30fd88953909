import { glob } from 'node:fs/promises';
import { STATUS_CODES } from 'node:http';
import { dirname, join } from 'node:path';
import { test } from 'tap';
import { baseErrors, type ErrorFactory } from '../../src/base/errors.ts';
import { PROBLEMS, problemOf, problemOfError } from '../../src/http/problem.ts';
import { storeErrors } from '../../src/store/errors.ts';

const root = join(import.meta.dirname, '..', '..', 'src');

test('every code that a room declares is in the table, once, and nothing else is', async (t) => {
  const declared = new Map<string, string>();
  for await (const file of glob('**/errors.ts', { cwd: root })) {
    // No request meets the failures of the command line.
    if (dirname(file) === 'cli') continue;
    const exported = (await import(join(root, file))) as Record<string, unknown>;
    const tables = Object.values(exported).filter((value) => value !== null && typeof value === 'object');
    for (const factory of tables.flatMap((table) => Object.values(table as Record<string, ErrorFactory>))) {
      const { code, title } = factory.spec;
      t.notOk(declared.has(code), `${code} is declared once (${declared.get(code)}, ${file})`);
      t.match(code, /^[a-z0-9]+(-[a-z0-9]+)*$/);
      t.match(title, /^[A-Z].*\.$/, `${code} has a sentence for a title`);
      declared.set(code, file);
    }
  }
  t.ok(declared.size > 50);
  t.strictSame(Object.keys(PROBLEMS).sort(), [...declared.keys()].sort());
});

test('statuses exist, and a code that may pass says when to come back', async (t) => {
  for (const [code, spec] of Object.entries(PROBLEMS)) {
    t.ok(spec.status >= 400 && STATUS_CODES[spec.status], `${code}: ${spec.status}`);
    t.match(spec.meaning, /\.$/);
  }
  t.strictSame(problemOfError(storeErrors.unavailable('down'), 'r1'), {
    problem: {
      type: '/problems/store-unavailable',
      title: 'The adapter store does not answer.',
      status: 503,
      detail: 'down',
      code: 'store-unavailable',
      instance: 'r1',
    },
    retryAfterSeconds: 2,
  });
  t.equal(problemOfError(storeErrors.full('no', { retryAfterSeconds: 9 }), 'r1').retryAfterSeconds, 9);
});

test('what is not ours is shown as a defect and nothing more', async (t) => {
  const { problem } = problemOfError(new Error('ENOENT: /secret/path'), 'r1');
  t.match(problem, { code: 'internal', status: 500 });
  t.notMatch(JSON.stringify(problem), /secret/);
  t.equal(problemOfError('thrown text', 'r1').problem.code, baseErrors.internal.spec.code);
  t.match(problemOf({ code: 'from-the-future', title: 'T.', detail: 'd' }), {
    status: 500,
    type: '/problems/from-the-future',
  });
});

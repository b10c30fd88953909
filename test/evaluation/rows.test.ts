import { test } from 'tap';
import { parseRows, splitRows } from '../../src/evaluation/rows.ts';

const lines = (...rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n');

test('rows are JSON lines or an array, with the columns that count', (t) => {
  const row = { prompt: 'Why?', response: 'Because.', id: 7, system: 'Be kind.', choices: null };
  const read = { prompt: 'Why?', response: 'Because.', system: 'Be kind.' };
  t.strictSame(parseRows(`${lines(row)}\r\n\n`), [read]);
  t.strictSame(parseRows(`\n [${JSON.stringify(row)}]`), [read]);
  t.strictSame(parseRows(lines({ prompt: 'p', response: 'a', choices: ['b', 'a'] })), [
    { prompt: 'p', response: 'a', choices: ['b', 'a'] },
  ]);
  t.end();
});

test('few distinct responses are the choices of all rows', (t) => {
  const row = (response: string, index: number) => ({ prompt: `p${index}`, response });
  const few = parseRows(lines(...['a', 'b', 'a'].map(row)));
  t.strictSame(
    few.map(({ choices }) => choices),
    [
      ['a', 'b'],
      ['a', 'b'],
      ['a', 'b'],
    ],
  );
  const many = parseRows(lines(...Array.from({ length: 11 }, (_, index) => row(`r${index}`, index))));
  t.ok(many.every(({ choices }) => choices === undefined));
  t.notOk(parseRows(lines(row('a', 0), row('a', 1)))[0]?.choices, 'one response is no choice');
  const own = parseRows(lines({ ...row('a', 0), choices: ['a', 'c'] }, row('b', 1)));
  t.strictSame(
    own.map(({ choices }) => choices),
    [['a', 'c'], undefined],
  );
  t.end();
});

test('rows that cannot be used are named by line, without their text', (t) => {
  const secret = 'secret';
  for (const [text, message] of [
    ['', /no rows/],
    ['[', /not one/],
    ['{', /Line 1 is not JSON/],
    ['\n3', /Line 2 is not an object/],
    [lines({ prompt: secret }), /no usable text in "response"/],
    [lines({ prompt: ' ', response: secret }), /"prompt"/],
    [lines({ prompt: 'x'.repeat(131_073), response: secret }), /"prompt"/],
    [lines({ prompt: secret, response: 'a', system: 3 }), /"system"/],
    [lines({ prompt: secret, response: 'a', choices: 'ab' }), /not an array/],
    [lines({ prompt: secret, response: 'a', choices: ['a'] }), /has 1 choices; 2 to 100/],
    [lines({ prompt: secret, response: 'a', choices: ['a', 'a'] }), /twice/],
    [lines({ prompt: secret, response: 'a', choices: ['b', 'c'] }), /not among its choices/],
    [`[${lines({ prompt: secret, response: 'a' })}, 3]`, /Item 2 is not an object/],
  ] as const) {
    try {
      parseRows(text);
      t.fail(String(message));
    } catch (error) {
      const {
        code,
        message: told,
        fields,
      } = error as Error & { code: string; fields: { message: string }[] };
      const whole = [told, ...fields.map((field) => field.message)].join(' ');
      t.equal(code, 'evaluation-data-invalid');
      t.match(whole, message);
      t.notMatch(whole, secret);
    }
  }
  t.end();
});

test('rows are split by the seed, and no prompt is also scored', (t) => {
  const rows = Array.from({ length: 100 }, (_, index) => ({ prompt: `p${index % 90}`, response: 'r' }));
  const split = splitRows(rows, { limit: 30, wanted: 16, seed: 1 });
  t.equal(split.scored.length, 30);
  t.strictSame(splitRows(rows, { limit: 30, wanted: 16, seed: 1 }), split);
  t.notSame(splitRows(rows, { limit: 30, wanted: 16, seed: 2 }).scored, split.scored);
  const scored = new Set(split.scored.map(({ prompt }) => prompt));
  t.ok(split.prompts.length > 50 && split.prompts.every((prompt) => !scored.has(prompt)));
  t.equal(splitRows(rows, { limit: 500, wanted: 16, seed: 1 }).scored.length, 84, 'a condition is left');
  t.equal(splitRows(rows, { limit: 500, wanted: 128, seed: 1 }).scored.length, 50, 'half is scored at least');
  t.equal(
    splitRows(rows, { limit: 500, wanted: 0, seed: 1 }).scored.length,
    100,
    'prompts came from elsewhere',
  );
  t.strictSame(
    splitRows(rows.slice(0, 1), { limit: 5, wanted: 16, seed: 1 }).prompts,
    ['p0'],
    'better than none',
  );
  t.end();
});

import { test } from 'tap';
import { parseForm } from '../../src/http/parse-form.ts';

const TYPE = 'multipart/form-data; boundary=b';
const parse = (text: string | Buffer, type = TYPE, maxParts = 5) =>
  parseForm(typeof text === 'string' ? Buffer.from(text.replaceAll('\n', '\r\n')) : text, type, maxParts).map(
    ({ bytes, ...part }) => ({ ...part, text: bytes.toString() }),
  );
const part = (disposition: string, content: string, more = '') =>
  `--b\nContent-Disposition: form-data; ${disposition}\n${more}\n${content}\n`;

test('parts, as clients write them', (t) => {
  const seed = [{ name: 'seed', contentType: '', text: '9' }];
  for (const [what, text, type] of [
    ['plain', `${part('name="seed"', '9')}--b--\n`],
    ['without a last line break', `${part('name="seed"', '9')}--b--`],
    ['with a preamble and an epilogue', `hello --b\n${part('name=seed', '9')}--b--\nbye\n--b\n`],
    [
      'with a quoted boundary',
      `${part('name="seed"', '9')}--b--`,
      'multipart/form-data; boundary="b"; charset=utf-8',
    ],
    [
      'with more headers',
      `${part('name="seed"', '9', 'Content-Length: 1\nX: y\nContent-Transfer-Encoding: 8bit\n')}--b--`,
    ],
    ['with blanks after the boundary', `${part('name="seed"', '9').replace('--b', '--b \t')}--b--`],
  ] as const) {
    t.strictSame(parse(text, type), seed, what);
  }
  t.strictSame(
    parse(
      `${part('name="file"; filename="a \\"b\\".txt"', 'x', 'Content-Type: text/plain; charset=utf-8\n')}${part("filename*=UTF-8''%e2%82%ac.csv; name=file", '')}--b--`,
    ),
    [
      { name: 'file', fileName: 'a "b".txt', contentType: 'text/plain; charset=utf-8', text: 'x' },
      { name: 'file', fileName: "UTF-8''%e2%82%ac.csv", contentType: '', text: '' },
    ],
  );
  const content = '--b-b\n--bc\nb--b\n -- b\n\n';
  t.equal(
    parse(`${part('name="x"', content)}--b--`)[0]?.text,
    content.replaceAll('\n', '\r\n'),
    'the boundary in texts',
  );
  t.equal(parse('--b\nContent-Disposition: form-data; name="x"\n\n--b--')[0]?.text, '', 'no content at all');
  t.strictSame(parse('--b--'), []);
  t.end();
});

test('forms that are none', (t) => {
  const good = part('name="seed"', '9');
  for (const [what, text, type] of [
    ['nothing', ''],
    ['cut off', good],
    ['cut off in a head', '--b\nContent-Disposition: form-data; name="seed"'],
    ['no boundary', good, 'multipart/form-data'],
    ['another boundary', `${good}--b--`, 'multipart/form-data; boundary=c'],
    ['a long boundary', `${good}--b--`, `multipart/form-data; boundary=${'c'.repeat(300)}`],
    ['bare line feeds', Buffer.from(`${good}--b--`)],
    ['no name', `${part('filename="a"', 'x')}--b--`],
    ['no disposition', '--b\nContent-Type: text/plain\n\nx\n--b--'],
    ['another disposition', '--b\nContent-Disposition: attachment; name="a"\n\nx\n--b--'],
    ['an encoded part', `${part('name="a"', 'eA==', 'Content-Transfer-Encoding: base64\n')}--b--`],
    ['many parts', `${good.repeat(6)}--b--`],
    ['a long head', `${part('name="a"', 'x', `X: ${'y'.repeat(9000)}\n`)}--b--`],
  ] as const) {
    t.throws(() => parse(text, type), { code: 'form-invalid' }, what);
  }
  t.end();
});

test('a large form without an end is refused in linear time', (t) => {
  const started = performance.now();
  for (const unit of ['--bx', '\r\n--b', '\r\n--b\r\n', '--b\r\n', '\r\n--b \t', '\r\n', '-']) {
    const body = Buffer.from(unit.repeat(4_000_000 / unit.length));
    t.throws(() => parse(body), { code: 'form-invalid' }, JSON.stringify(unit));
  }
  t.ok(performance.now() - started < 5000);
  t.end();
});

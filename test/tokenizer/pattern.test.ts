import { test } from 'tap';
import { patternOf } from '../../src/tokenizer/pattern.ts';

const of = (source: string) => patternOf({ Regex: source }, 'Split');
const matches = (source: string, text: string) => [...text.matchAll(of(source))].map(([match]) => match);

test('what is taken means what it means to Oniguruma', (t) => {
  t.same(
    matches('\\s+', 'a\u0085\u2028b\ufeffc d'),
    ['\u0085\u2028', ' '],
    'white space of Unicode, which U+FEFF is not',
  );
  t.same(matches("(?i:'s|k)", "'S 'ſ K \u212a x"), ["'S", "'ſ", 'K', '\u212a'], 'letters without case');
  t.same(matches('.+', 'a\rb\nc\u2028d'), ['a\rb', 'c\u2028d'], 'any character but a line feed');
  t.same(matches('\\d', '1٣½'), ['1', '٣']);
  t.same(matches('[a\\-z]+', 'a-zb'), ['a-z']);
  t.same(matches('x(?=y)|(?<=z)w|\\-', 'xy x zw-'), ['x', 'w', '-']);
  t.same([...'a.b'.matchAll(patternOf({ String: '.' }, 'Split'))].length, 1, 'text stands for itself');
  t.end();
});

test('what could mean something else is refused', (t) => {
  for (const source of [
    '^a',
    'a$',
    '\\Ga',
    '\\bword',
    '\\w+',
    '\\h',
    '\\x41',
    '\\1',
    '\\p{Han}',
    '\\p{^L}',
    'a++',
    'a?+',
    'a{2}+',
    'a{,3}',
    '(?>a)',
    '(?i)a',
    '(?m:a)',
    '(?<n>a)',
    '(?i:straße)',
    '(?i:st)',
    '(?i:[a-c])',
    '[a&&b]',
    '[[:alpha:]]',
    '[a[b]]',
    '[]a]',
    '[\\S]',
    '[\\p{L}-z]',
    '[z-a]',
    '[a',
    '(a',
    'a)',
    '+',
    '\\',
    'a*',
    '',
    'x'.repeat(5000),
  ]) {
    t.throws(() => of(source), { code: 'tokenizer-invalid' }, source.slice(0, 20));
  }
  t.throws(() => patternOf({ String: '' }, 'Split'), { code: 'tokenizer-invalid' });
  t.throws(() => patternOf(undefined, 'Split'), { code: 'tokenizer-invalid' });
  t.end();
});

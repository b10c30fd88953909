import { test } from 'tap';
import { descriptionText } from '../../src/models/description-text.ts';

test('descriptions as the encoder is to read them', (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['Answer questions about physics', 'Answer questions about physics.'],
    ['  Answer questions.\n', 'Answer questions.'],
    ['Is it true?', 'Is it true?'],
    ['Count to 10', 'Count to 10'],
    ['Réponds en français, à la volée é', 'Réponds en français, à la volée é.'],
    ['用中文回答问题', '用中文回答问题.'],
    ['ends with 𝒳', 'ends with 𝒳.'],
    // A combining mark and a number of letters are no letters to Python.
    ['cafe\u0301', 'cafe\u0301'],
    ['chapter Ⅻ', 'chapter Ⅻ'],
    // Python strips the separators of ASCII and the next-line control, and keeps a byte order mark.
    ['\x1c\x85 text \u3000\x1f', 'text.'],
    ['text\ufeff', 'text\ufeff'],
  ];
  for (const [given, expected] of cases) t.equal(descriptionText(given), expected);
  t.end();
});

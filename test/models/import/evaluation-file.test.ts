import { test } from 'tap';
import {
  type Evaluation,
  type EvaluationRow,
  MAX_EVALUATION_ROWS,
  MAX_PROTOCOL_CHARS,
} from '../../../src/models/evaluation.ts';
import {
  MAX_EVALUATION_FILE_BYTES,
  parseEvaluationFile,
} from '../../../src/models/import/evaluation-file.ts';
import { SAMPLE_EVALUATION } from '../sample-evaluation.ts';

test('an evaluation is read as it stands, up to its limits', (t) => {
  t.same(parseEvaluationFile(JSON.stringify(SAMPLE_EVALUATION)), SAMPLE_EVALUATION);
  const [row] = SAMPLE_EVALUATION.rows;
  const rows = Array.from({ length: MAX_EVALUATION_ROWS }, (_, index) => ({
    ...row!,
    dataset: `a data set of a rather long name ${index}`,
    draws: 5,
    deviation: 0.123456789012345,
  }));
  const largest: Evaluation = { protocol: '.'.repeat(MAX_PROTOCOL_CHARS), rows };
  const text = JSON.stringify(largest, null, 2);
  t.ok(text.length < MAX_EVALUATION_FILE_BYTES, `the most rows fit into a file: ${text.length}`);
  t.same(parseEvaluationFile(text), largest);
  t.end();
});

test('figures that cannot be are refused, and named', (t) => {
  const { protocol, rows } = SAMPLE_EVALUATION;
  const changed = (change: Record<string, unknown>, index = 0) => ({
    protocol,
    rows: rows.map((row, at) => (at === index ? { ...row, ...change } : row)),
  });
  const without = (key: keyof EvaluationRow) => changed({ [key]: undefined });
  const table: [string, unknown, string][] = [
    ['a list', rows, ''],
    ['no protocol', { rows }, ''],
    ['an empty protocol', { protocol: '', rows }, '/protocol'],
    ['a long protocol', { protocol: '.'.repeat(MAX_PROTOCOL_CHARS + 1), rows }, '/protocol'],
    ['no rows', { protocol, rows: [] }, '/rows'],
    ['too many', { protocol, rows: Array(MAX_EVALUATION_ROWS + 1).fill(rows[0]) }, '/rows'],
    ['an unknown field', changed({ sd: 1 }), '/rows/0'],
    ['an unknown metric', changed({ metric: 'bleu' }), '/rows/0/metric'],
    ['an unknown subject', changed({ subject: 'ours' }), '/rows/0/subject'],
    ['a name that moves the cursor', changed({ dataset: '\u001b[2J' }), '/rows/0/dataset'],
    ['no value', without('value'), '/rows/0'],
    ['a negative value', changed({ value: -1 }), '/rows/0/value'],
    ['half an item', changed({ items: 0.5 }), '/rows/0/items'],
    ['an interval with one end', without('low'), '/rows/0'],
    ['an interval beside its value', changed({ value: 3 }), '/rows/0'],
    ['an interval the wrong way round', changed({ low: 2.75, high: 2.25 }), '/rows/0'],
    ['an accuracy above 1', changed({ value: 1.5 }, 3), '/rows/3'],
    ['a figure twice', changed({ metric: 'answer-nll' }, 3), '/rows/3'],
  ];
  for (const [what, value, pointer] of table) {
    t.throws(
      () => parseEvaluationFile(JSON.stringify(value)),
      { code: 'evaluation-invalid', fields: [{ pointer, message: /./ }] },
      what,
    );
  }
  t.throws(() => parseEvaluationFile('{'), { code: 'evaluation-invalid', message: /not JSON/ });
  t.end();
});

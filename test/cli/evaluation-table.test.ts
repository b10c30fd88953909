import { test } from 'tap';
import {
  datasetFigures,
  evaluationSummary,
  evaluationTable,
  formatFigure,
  wrapText,
} from '../../src/cli/evaluation-table.ts';
import { SAMPLE_EVALUATION } from '../models/sample-evaluation.ts';

test('an evaluation is a table, and a few words', (t) => {
  const { rows } = SAMPLE_EVALUATION;
  t.same(evaluationTable(rows).split('\n'), [
    'data set  metric      subject                 value                items  draws  deviation',
    'sums      answer-nll  base                    2.500 (2.250–2.750)  200',
    'sums      answer-nll  generated               2.000 (1.875–2.125)  200    5      0.063',
    'sums      answer-nll  own-adapter             1.000',
    'sums      accuracy    generated               0.500',
    'rhymes    accuracy    control-shuffled-words  1.000 (1.000–1.000)',
    'sums      answer-nll  uniform-guess           1.250',
  ]);
  t.equal(evaluationSummary(SAMPLE_EVALUATION), 'measured on 2 data sets');
  t.equal(evaluationSummary({ ...SAMPLE_EVALUATION, rows: rows.slice(4, 5) }), 'measured on 1 data set');
  t.equal(formatFigure({ value: 0.12345 }), '0.123');
  t.end();
});

test('the figures of one data set are told with what they are to be read against', (t) => {
  const told = datasetFigures(SAMPLE_EVALUATION, 'sums');
  t.equal(told[0], 'Measured on sums before the model was published:');
  t.equal(told[1], 'answer-nll (nats per answer token, less is better)');
  t.match(told[2], /^ {2}base +2\.500 \(2\.250–2\.750\) +the base model alone/);
  t.match(told[3], /^ {2}generated +2\.000/);
  t.match(told[4], /^ {2}uniform-guess +1\.250 +a guess/);
  t.match(told[5], /own-adapter +1\.000 +with an adapter trained on/);
  t.equal(told[6], 'accuracy (share of right answers, more is better)');
  t.match(told.join(' '), /`generated` has 33 %; `uniform-guess`, which is form alone, has 83 %\./);
  t.match(datasetFigures(SAMPLE_EVALUATION, 'boolq'), [/Nothing .* on boolq; .* sums, rhymes\.$/]);
  t.match(datasetFigures(undefined, 'boolq'), [/^Nothing was measured/]);
  t.end();
});

test('more right answers are claimed only where intervals are apart', (t) => {
  const told = (low: number, high: number) => {
    const row = { dataset: 'sums', metric: 'accuracy', value: 0.5 } as const;
    const rows = [
      { ...row, subject: 'base', low: 0.4, high: 0.6 },
      { ...row, subject: 'generated', low, high },
    ] as const;
    return datasetFigures({ ...SAMPLE_EVALUATION, rows: [...rows] }, 'sums').join(' ');
  };
  t.match(told(0.61, 0.7), /More answers are right/);
  t.match(told(0.1, 0.39), /Fewer answers are right/);
  t.match(told(0.55, 0.7), /not seen to make answers right/);
  t.end();
});

test('prose is broken between words, paragraphs stay apart', (t) => {
  const lines = wrapText(`one two\n\n${'seven '.repeat(30)}${'x'.repeat(120)} end`);
  t.same(lines.slice(0, 2), ['one two', '']);
  t.ok(lines.slice(2, -2).every((line) => line.length <= 100 && line.length > 80));
  t.same(lines.slice(-2), ['x'.repeat(120), 'end']);
  t.end();
});

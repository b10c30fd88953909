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
  t.same(told.slice(1, 3), ['', 'answer-nll (nats per answer token, less is better)']);
  t.match(
    told[3],
    /^ {2}base +2\.500 \(2\.250–2\.750\) +the base model alone\n {2}uniform-guess +1\.250 +a guess .*\n {2}generated +2\.000/,
  );
  t.match(told[3], /own-adapter +1\.000 +with an adapter trained on/);
  t.equal(told[5], 'accuracy (share of right answers, more is better)');
  t.match(told.join(' '), /`generated` has 33 %; `uniform-guess`, which is form alone, has 83 %\./);
  t.match(datasetFigures(SAMPLE_EVALUATION, 'boolq'), [/Nothing .* on boolq; .* sums, rhymes\.$/]);
  t.match(datasetFigures(undefined, 'boolq'), [/^Nothing was measured/]);
  t.end();
});

test('prose is broken between words, paragraphs stay apart', (t) => {
  const lines = wrapText(`one two\n\n${'seven '.repeat(30)}${'x'.repeat(120)} end`);
  t.same(lines.slice(0, 2), ['one two', '']);
  t.ok(lines.slice(2, -2).every((line) => line.length <= 100 && line.length > 80));
  t.same(lines.slice(-2), ['x'.repeat(120), 'end']);
  t.end();
});

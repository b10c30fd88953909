import { gzipSync, zstdCompressSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { test } from 'tap';
import { sha256 } from '../../src/base/digest.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { Job } from '../../src/http/schemas.ts';
import { startApi } from './start-api.ts';

const QUESTIONS = Array.from({ length: 16 }, (_, index) => `Was ist, "genau", ${index} plus ${index}?`);
const DIGESTS = QUESTIONS.map((question) => sha256(question));
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

const CSV = `id,question,answer\n${QUESTIONS.map((question, index) => `${index},${quoted(question)},x`).join('\n')}\n`;
const TSV = `id\tquestion\r\n${QUESTIONS.map((question, index) => `${index}\t${quoted(question)}`).join('\r\n')}`;
const JSONL = QUESTIONS.map((question) => JSON.stringify({ question, answer: 'x' })).join('\n');
const PARQUET = Buffer.from(
  parquetWriteBuffer({
    columnData: [
      { name: 'question', data: QUESTIONS, type: 'STRING' },
      { name: 'answer', data: QUESTIONS.map(() => 'x'), type: 'STRING' },
    ],
  }),
);

test('prompts in every form that data sets come in', async (t) => {
  const { app } = await startApi(t);
  const post = (
    payload: string | Buffer,
    type: string,
    { url = '/generate', ...headers }: Record<string, string> & { url?: string } = {},
  ) =>
    app.inject({
      method: 'POST',
      url,
      payload,
      headers: { 'content-type': type, prefer: 'wait=30', ...headers },
    });

  await t.test('bodies, as they are and compressed', async (t) => {
    const bodies: Record<string, [string | Buffer, string, string]> = {
      CSV: [CSV, 'text/csv; charset=utf-8; header=present', 'csv'],
      TSV: [TSV, 'text/tab-separated-values', 'tsv'],
      'JSON lines': [JSONL, 'application/jsonl', 'jsonl'],
      Parquet: [PARQUET, 'application/vnd.apache.parquet', 'parquet'],
      'UTF-16': [Buffer.from(`\ufeff${TSV}`, 'utf16le'), 'text/tab-separated-values; charset=UTF-16', 'tsv'],
      'rows in JSON': [
        JSON.stringify({ prompts: QUESTIONS.map((question) => ({ question })) }),
        'application/json',
        'json',
      ],
    };
    for (const [name, [body, type, format]] of Object.entries(bodies)) {
      for (const [coding, pack] of [
        [undefined, (bytes: Buffer) => bytes],
        ['gzip', gzipSync],
        ['zstd', zstdCompressSync],
      ] as const) {
        const response = await post(pack(Buffer.from(body as string)), type, {
          ...(coding && { 'content-encoding': coding }),
        });
        const job = response.json<Job>();
        t.equal(job.status, 'succeeded', `${name}, ${coding}: ${response.body.slice(0, 300)}`);
        t.strictSame(job.adapters?.[0]?.promptDigests, DIGESTS, name);
        t.strictSame(job.promptSource, { format, field: 'question', rows: 16, distinct: 16 }, name);
      }
    }
  });

  await t.test('files of a form, compressed ones and chosen columns among them', async (t) => {
    const file = (name: string, content: string | Buffer, type = 'application/octet-stream') => [
      `--b\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n`,
      content,
      '\r\n',
    ];
    const field = (name: string, value: string) => [
      `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
    ];
    const form = (...parts: readonly (string | Buffer)[][]) =>
      post(
        Buffer.concat([...parts.flat(), '--b--\r\n'].map((part) => Buffer.from(part as string))),
        'multipart/form-data; boundary=b',
      );
    for (const [name, content] of [
      ['rows.csv', CSV],
      ['rows.jsonl.gz', gzipSync(JSONL)],
      ['rows.csv.zst', zstdCompressSync(CSV)],
      ['train-00000-of-00001.parquet', PARQUET],
    ] as const) {
      const job = (await form(file(name, content))).json<Job>();
      t.strictSame(job.adapters?.[0]?.promptDigests, DIGESTS, name);
    }
    const chosen = (await form(file('a.csv', CSV), field('promptField', 'answer'))).json<Job>();
    t.strictSame(chosen.promptSource, { format: 'csv', field: 'answer', rows: 16, distinct: 1 });
    const several = await form(
      file('a.csv', 'question\na\nb\n'),
      field('seed', '1'),
      file('b.json', '{"data": [{"instruction": "c", "input": "d"}]}'),
      file('c.txt', 'e', 'text/plain; charset=UTF-8'),
    );
    t.strictSame(several.json<Job>().promptSource, {
      format: 'csv',
      field: 'question, instruction + input',
      rows: 4,
      distinct: 4,
    });
    const unpacked = Buffer.from(`${'a'.repeat(1000)}\n`.repeat(9000));
    const large = await form(file('a.txt.gz', gzipSync(unpacked)), file('b.txt.gz', gzipSync(unpacked)));
    t.match(large.json<Problem>(), { code: 'prompts-too-large', status: 413 }, 'files are bounded together');
  });

  await t.test('a column or a template of one’s own', async (t) => {
    const rows = 'topic,level\nrust,1\nice,2\n';
    const template = encodeURIComponent('Explain {topic} at level {level}.');
    const templated = (
      await post(rows, 'text/csv', { url: `/generate?promptTemplate=${template}` })
    ).json<Job>();
    t.strictSame(templated.promptSource, { format: 'csv', field: 'topic + level', rows: 2, distinct: 2 });
    t.ok(templated.adapters[0]!.promptDigests!.includes(sha256('Explain ice at level 2.')));
    const named = (await post(rows, 'text/csv', { url: '/generate?promptField=topic' })).json<Job>();
    t.ok(named.adapters[0]!.promptDigests!.includes(sha256('ice')));
    const body = { prompts: [{ deep: { q: 'a' } }, { deep: { q: 'b' } }], promptField: '/deep/q' };
    const pointed = (await post(JSON.stringify(body), 'application/json')).json<Job>();
    t.equal(pointed.promptSource?.field, '/deep/q');
    const refused = (await post('question,query\na,b\n', 'text/csv')).json<Problem>();
    t.match(refused, { code: 'prompt-field-ambiguous', status: 400, detail: /`question` and `query`/ });
  });

  await t.test('options of the query go with every body, and those of the body win', async (t) => {
    const url = '/generate?seed=5&dtype=f16&promptTemplate=%7Bx%7D';
    const prompts = [
      { q: 'One?', x: 'no' },
      { q: 'Two?', x: 'never' },
    ];
    const body = { prompts, seed: 7, promptField: 'q' };
    const merged = (await post(JSON.stringify(body), 'application/json', { url })).json<Job>();
    t.match(merged, { seed: 7, dtype: 'f16', promptSource: { field: 'q' } });
    const form = `--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nOne?\r\n--b\r\nContent-Disposition: form-data; name="seed"\r\n\r\n8\r\n--b--`;
    const sent = (
      await post(form, 'multipart/form-data; boundary=b', { url: '/generate?seed=5&dtype=f16' })
    ).json<Job>();
    t.match(sent, { seed: 8, dtype: 'f16' });
  });

  await t.test('what is mostly the same text is warned of, with the numbers', async (t) => {
    const same = (await post('a\n'.repeat(20), 'text/plain')).json<Job>();
    t.match(same.warnings[0], /All 20 prompts are the same text/);
    t.strictSame(same.promptSource, { format: 'text', rows: 20, distinct: 1 });
    const mostly = (await post(`b\nc\n${'a\n'.repeat(20)}`, 'text/plain')).json<Job>();
    t.match(mostly.warnings[0], /Of 22 prompts 3 are distinct.*the draw does not prefer distinct ones/);
    const few = (await post(`${QUESTIONS.join('\n')}\n${QUESTIONS[0]}`, 'text/plain')).json<Job>();
    t.strictSame(
      few.warnings.filter((warning) => /distinct|same/.test(warning)),
      [],
    );
  });
});

/** What does it cost to read the largest body, in each format, and how long does the event loop stand still for it? */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { PromptFormat } from '../src/prompts/prompt-format.ts';
import { readPrompts } from '../src/prompts/read-prompts.ts';
import { type Benchmark, spread } from './report.ts';

const BYTES = 16 * 2 ** 20;
const ROWS = 20_000;
const RUNS = 5;
const LIMITS = { maxPrompts: ROWS, maxPromptChars: 131_072, maxBytes: BYTES + 2 ** 20 };

/** Rows of a question and an answer that differ and do not compress to nothing, 16 MiB in all. */
function makeRows(): { question: string; answer: string }[] {
  let state = 1;
  const word = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state.toString(36);
  };
  const words = Math.floor(BYTES / ROWS / 2 / 7.6);
  const text = () => Array.from({ length: words }, word).join(' ');
  return Array.from({ length: ROWS }, () => ({ question: `${text()}?`, answer: text() }));
}

function makeFiles(): readonly (readonly [string, PromptFormat, Uint8Array])[] {
  const rows = makeRows();
  const jsonl = Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'));
  const csv = Buffer.from(
    `question,answer\n${rows.map((row) => `"${row.question}",${row.answer}`).join('\n')}`,
  );
  const column = (name: 'question' | 'answer') => ({
    name,
    data: rows.map((row) => row[name]),
    type: 'STRING' as const,
  });
  const columnData = [column('question'), column('answer')];
  const compressors = { ZSTD: (bytes: Uint8Array) => zstdCompressSync(bytes) };
  const text = Buffer.from(rows.map(({ question, answer }) => question + answer).join('\n'));
  return [
    ['text', 'text', text],
    ['JSON lines', 'jsonl', jsonl],
    ['JSON', 'json', Buffer.from(JSON.stringify(rows))],
    ['CSV', 'csv', csv],
    ['Parquet, snappy', 'parquet', new Uint8Array(parquetWriteBuffer({ columnData }))],
    [
      'Parquet, zstd',
      'parquet',
      new Uint8Array(parquetWriteBuffer({ columnData, codec: 'ZSTD', compressors })),
    ],
    ['JSON lines, gzip', 'jsonl', gzipSync(jsonl)],
    ['JSON lines, zstd', 'jsonl', zstdCompressSync(jsonl)],
  ];
}

export const readingPrompts: Benchmark = {
  question: `reading ${ROWS} rows of 16 MiB, and the largest gap of the event loop meanwhile`,
  columns: ['format', 'bytes sent', 'time', 'largest gap'],
  async run() {
    const rows: string[][] = [];
    for (const [name, format, bytes] of makeFiles()) {
      const times: number[] = [];
      const gaps: number[] = [];
      for (let run = 0; run < RUNS; run++) {
        const delay = monitorEventLoopDelay({ resolution: 1 });
        delay.enable();
        const startedAt = performance.now();
        await readPrompts(bytes, { format, limits: LIMITS });
        times.push(performance.now() - startedAt);
        delay.disable();
        gaps.push(delay.max / 1e6);
      }
      const mebibytes = `${(bytes.length / 2 ** 20).toFixed(1)} MiB`;
      rows.push([name, mebibytes, spread(times, 'ms', 0), spread(gaps, 'ms', 0)]);
    }
    return rows;
  },
};

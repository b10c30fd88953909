/** Does an adapter of 1 GiB go to object storage in bounded memory, and how fast against the SDK's own upload? */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { benchErrors } from './errors.ts';
import { type Benchmark, median, spread } from './report.ts';

const GIBIBYTES = 1;
const RUNS = 3;

/** Ways of sending the same bytes; the first is ours. */
const WAYS = ['store', 'sdk'] as const;

export const s3Upload: Benchmark = {
  question: `${GIBIBYTES} GiB of made-up adapter to STORE_URL (AWS_* variables tell the server): our store, which hashes the whole file and every part, against @aws-sdk/lib-storage with the same parts (in turn, each in a process of its own)`,
  columns: ['way', 'throughput', 'peak resident', 'of the SDK’s'],
  onRequest: true,
  async run() {
    const url = process.env['STORE_URL'];
    if (!url?.startsWith('s3://'))
      throw benchErrors.usage('STORE_URL has to name a bucket: s3://bucket/prefix.');
    const rates: Record<string, number[]> = { store: [], sdk: [] };
    const peaks: Record<string, number[]> = { store: [], sdk: [] };
    for (let run = 0; run < RUNS; run++) {
      for (const way of WAYS) {
        const { seconds, peakBytes } = await send(way, `${url}/${randomBytes(6).toString('hex')}`);
        rates[way]!.push((GIBIBYTES * 1024) / seconds);
        peaks[way]!.push(peakBytes / 2 ** 20);
      }
    }
    return WAYS.map((way) => [
      way === 'store' ? 'our store' : 'plain SDK upload',
      spread(rates[way]!, 'MiB/s', 0),
      spread(peaks[way]!, 'MiB', 0),
      `${(median(rates[way]!) / median(rates['sdk']!)).toFixed(2)}×`,
    ]);
  },
};

async function send(way: string, url: string): Promise<{ seconds: number; peakBytes: number }> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 's3-sender.ts'), way, url, String(GIBIBYTES)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw benchErrors.usage(`The sender ended with ${code}.`);
  return JSON.parse(printed) as { seconds: number; peakBytes: number };
}

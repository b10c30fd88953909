/** A real Prometheus that scrapes one process of a test. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import {
  keepServer,
  requireProgram,
  serverDirectory,
  serverPort,
  startForTest,
  type TestServer,
} from './services.ts';

/** What a query came to. */
export type QueryResult = {
  readonly error?: string;
  readonly warnings: readonly string[];
  readonly series: number;
};

/** A running Prometheus. */
export type TestPrometheus = TestServer & { query(expression: string): Promise<QueryResult> };

type Answer = {
  readonly status: string;
  readonly error?: string;
  readonly warnings?: readonly string[];
  readonly data?: { readonly result: readonly unknown[] };
};

/** Starts a Prometheus that scrapes that address every second. Without the program the test is skipped and undefined comes back. */
export function startPrometheus(t: Test, target: string): Promise<TestPrometheus | undefined> {
  return startForTest(t, 'prometheus', async () => {
    const [directory, port] = [await serverDirectory('prometheus'), await serverPort()];
    const config = join(directory, 'prometheus.yml');
    await mkdir(join(directory, 'data'));
    await writeFile(
      config,
      `global: { scrape_interval: 1s }\nscrape_configs:\n  - job_name: loradrop\n    static_configs: [{ targets: ['${target}'] }]\n`,
    );
    const url = `http://127.0.0.1:${port}`;
    const server = await keepServer({
      url,
      port,
      directory,
      command: [
        requireProgram('prometheus'),
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      killSignal: 'SIGKILL',
      answers: async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.status === 200,
    });
    const query = async (expression: string) => {
      const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`);
      const { status, error, warnings = [], data } = (await response.json()) as Answer;
      return {
        ...(status !== 'success' && { error: error ?? status }),
        warnings,
        series: data?.result.length ?? 0,
      };
    };
    return { ...server, query };
  });
}

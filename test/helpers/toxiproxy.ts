/** A real Toxiproxy: proxies of TCP streams that are cut, reset and delayed while they run. */
import type { Test } from 'tap';
import { keepServer, requireProgram, serverDirectory, serverPort, startForTest } from './services.ts';

/** What a proxy does to the bytes that pass it; see Toxiproxy's own documentation for each. */
export type Toxic =
  | {
      readonly type: 'latency';
      readonly attributes: { readonly latency: number; readonly jitter?: number };
    }
  /** Keeps every byte back and closes the connection after so many milliseconds; 0: never. */
  | { readonly type: 'timeout'; readonly attributes: { readonly timeout: number } }
  /** Resets connections after so many milliseconds. */
  | { readonly type: 'reset_peer'; readonly attributes: { readonly timeout: number } }
  | { readonly type: 'bandwidth'; readonly attributes: { readonly rate: number } };

/** A way from a port of this machine to another one. */
export type ToxicWay = {
  readonly port: number;
  /** Refuses new connections and ends those there are. */
  cut(): Promise<void>;
  /** Does this to bytes in both directions. */
  poison(toxic: Toxic): Promise<void>;
  /** Lets everything pass again. */
  heal(): Promise<void>;
};

/** A running Toxiproxy. */
export type Toxiproxy = {
  /** Opens a way to `port`. */
  way(port: number): Promise<ToxicWay>;
};

/** Starts Toxiproxy, ended with the test. Skipped, and undefined, where it is not installed. */
export async function startToxiproxy(t: Test): Promise<Toxiproxy | undefined> {
  const server = await startForTest(t, 'toxiproxy-server', async () => {
    const port = await serverPort();
    return await keepServer({
      url: `http://127.0.0.1:${port}`,
      port,
      directory: await serverDirectory('toxiproxy'),
      command: [requireProgram('toxiproxy-server'), '-host', '127.0.0.1', '-port', String(port)],
      environment: { LOG_LEVEL: 'error' },
      killSignal: 'SIGKILL',
      answers: () =>
        fetch(`http://127.0.0.1:${port}/version`).then(
          ({ ok }) => ok,
          () => false,
        ),
    });
  });
  if (!server) return undefined;
  const ask = async (method: string, path: string, body?: object) => {
    const answer = await fetch(server.url + path, {
      method,
      ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await answer.text();
    // A toxic that is not there any more is one that needs no removal.
    if (!answer.ok && !(method === 'DELETE' && answer.status === 404)) {
      throw new Error(`toxiproxy answers ${answer.status} to ${method} ${path}: ${text}`);
    }
  };
  return {
    async way(upstreamPort) {
      const port = await serverPort();
      const name = `to-${upstreamPort}-${port}`;
      await ask('POST', '/proxies', {
        name,
        listen: `127.0.0.1:${port}`,
        upstream: `127.0.0.1:${upstreamPort}`,
        enabled: true,
      });
      const path = `/proxies/${name}`;
      const streams = ['upstream', 'downstream'] as const;
      return {
        port,
        cut: () => ask('POST', path, { enabled: false }),
        async poison(toxic) {
          for (const stream of streams) {
            await ask('POST', `${path}/toxics`, { ...toxic, name: stream, stream });
          }
        },
        async heal() {
          for (const stream of streams) await ask('DELETE', `${path}/toxics/${stream}`);
          await ask('POST', path, { enabled: true });
        },
      };
    },
  };
}

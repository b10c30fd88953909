/** The client of idle-connections.ts, in a process of its own: holds connections and asks probes beside them. */
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What the connections have sent: nothing, a head without its end, or one whole request. */
export type IdleLoad = 'silent' | 'half a head' | 'kept alive';

/** What it tells its parent. */
export type IdleResult = {
  /** Connections that the service still holds. */
  readonly open: number;
  readonly livezMs: readonly number[];
  readonly readyzMs: readonly number[];
  readonly failed: number;
};

const PROBES = 200;
/** Few enough for the backlog of one server. */
const AT_ONCE = 100;
const SENT: Readonly<Record<IdleLoad, string>> = {
  silent: '',
  'half a head': 'GET /livez HTTP/1.1\r\nHost: localh',
  'kept alive': 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n',
};

const [url, connections, kind] = process.argv.slice(2) as [string, string, IdleLoad];
const { port, hostname } = new URL(url);
const held: Socket[] = [];

async function hold(): Promise<void> {
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (SENT[kind]) socket.write(SENT[kind]);
  if (kind === 'kept alive') await once(socket, 'data');
  // Read, or an end would not be seen.
  held.push(socket.resume());
}

/** Milliseconds from the attempt to connect to the end of a 200, or undefined. */
async function probe(path: string): Promise<number | undefined> {
  const startedAt = performance.now();
  try {
    const agent = new Agent({ keepAlive: false });
    const [response] = (await once(get(url + path, { agent, timeout: 5000 }), 'response')) as [
      IncomingMessage,
    ];
    await once(response.resume(), 'end');
    return response.statusCode === 200 ? performance.now() - startedAt : undefined;
  } catch {
    return undefined;
  }
}

for (let opened = 0; opened < Number(connections); opened += AT_ONCE) {
  await Promise.all(Array.from({ length: AT_ONCE }, hold));
}
const livez: (number | undefined)[] = [];
const readyz: (number | undefined)[] = [];
for (let n = 0; n < PROBES; n++) {
  livez.push(await probe('/livez'));
  readyz.push(await probe('/readyz'));
}
// Ends that the service has sent are on their way.
await delay(500);
const answered = (values: readonly (number | undefined)[]) => values.filter((value) => value !== undefined);
process.send!({
  open: held.filter((socket) => !socket.closed && !socket.readableEnded).length,
  livezMs: answered(livez),
  readyzMs: answered(readyz),
  failed: [...livez, ...readyz].filter((value) => value === undefined).length,
} satisfies IdleResult);

/** The receivers of webhooks.ts, in a process of their own: one answers at once, one takes connections and never answers. */
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';

/** What it tells its parent. */
export type ReceiverReport =
  | { readonly event: 'ready'; readonly quick: string; readonly dead: string }
  | { readonly event: 'received'; readonly count: number };

let count = 0;
const quick = createServer((request, response) => {
  request.resume().on('end', () => {
    count += 1;
    response.writeHead(204).end();
  });
}).listen(0, '127.0.0.1');
const dead = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
const tell = (report: ReceiverReport) => process.send!(report);
const urlOf = (server: { address(): AddressInfo | string | null }) =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
await Promise.all(
  [quick, dead].map(
    (server) => server.listening || new Promise((resolve) => server.once('listening', resolve)),
  ),
);
tell({ event: 'ready', quick: urlOf(quick), dead: urlOf(dead) });
setInterval(() => tell({ event: 'received', count }), 20);
process.on('disconnect', () => process.exit());

import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

/** What happens to a request on its way: nothing when it does not answer `true`. */
export type Fault = (incoming: IncomingMessage, response: ServerResponse) => boolean;

/** A proxy in front of a server; what it does to requests is exchanged while it runs. */
export type FaultProxy = {
  readonly port: number;
  /** Looks at each request first; true when it has answered or ended it. */
  fault: Fault;
  /** How long a request waits before it is passed on. */
  delayMs: (incoming: IncomingMessage) => number;
  /** Changes headers of a request before they are passed on. */
  headers: (headers: IncomingMessage['headers']) => IncomingMessage['headers'];
  /** Changes headers of an answer before they are passed back. */
  answer: (headers: IncomingMessage['headers'], incoming: IncomingMessage) => IncomingMessage['headers'];
};

/** Starts a proxy to `port` of this machine, ended with the test. Headers are passed on as they are, so signatures hold. */
export async function startFaultProxy(t: Test, port: number): Promise<FaultProxy> {
  const proxy = {
    port: 0,
    fault: (() => false) as Fault,
    delayMs: (() => 0) as FaultProxy['delayMs'],
    headers: ((headers) => headers) as FaultProxy['headers'],
    answer: ((headers) => headers) as FaultProxy['answer'],
  };
  const server = createServer((incoming, response) => {
    if (proxy.fault(incoming, response)) return;
    const { method, url: path } = incoming;
    const outgoing = request(
      { host: '127.0.0.1', port, method, path, headers: proxy.headers({ ...incoming.headers }) },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, proxy.answer({ ...answer.headers }, incoming));
        answer.pipe(response);
      },
    );
    outgoing.on('error', () => response.destroy());
    setTimeout(() => incoming.pipe(outgoing), proxy.delayMs(incoming));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  proxy.port = (server.address() as AddressInfo).port;
  return proxy;
}

/** Real HTTP receivers of webhooks on loopback, and services that may call them. Imports no test runner. */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAddressGuard } from '../../src/webhooks/address-guard.ts';
import { parseAllowList } from '../../src/webhooks/networks.ts';
import { until } from './loradrop-process.ts';

/** A secret as any tenant of a test has it. */
export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** A message as it came in. */
export type Received = {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly event: string;
  readonly jobId: string;
};

/** What a receiver does with its n-th message: answers with a status, or itself. */
export type Behaviour = (nth: number, response: ServerResponse, received: Received) => number | undefined;

/** A receiver that remembers what it got. */
export type Receiver = {
  readonly url: string;
  readonly received: readonly Received[];
  /** Events of one job, in the order in which they came. */
  events(jobId: string): string[];
  /** Waits for so many messages. */
  waitFor(count: number, timeoutMs?: number): Promise<void>;
  behave(behaviour: Behaviour): void;
  close(): Promise<void>;
};

/** Starts a receiver that answers 204 unless told otherwise. */
export async function startReceiver(behaviour: Behaviour = () => 204, port = 0): Promise<Receiver> {
  const received: Received[] = [];
  let behave = behaviour;
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const { type = '', data = {} } = JSON.parse(body || '{}') as { type?: string; data?: { id?: string } };
      const message = {
        path: request.url ?? '',
        headers: request.headers,
        body,
        event: type,
        jobId: data.id ?? '',
      };
      received.push(message);
      const status = behave(received.length, response, message);
      if (typeof status === 'number') response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    events: (jobId) => received.filter((each) => each.jobId === jobId).map(({ event }) => event),
    waitFor: (count, timeoutMs = 30_000) => until(async () => received.length >= count, timeoutMs),
    behave(next) {
      behave = next;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A guard that lets webhooks go to receivers of a test. */
export const loopbackGuard = () => createAddressGuard({ allow: parseAllowList('127.0.0.1'), ports: [443] });

/** The events a receiver has of a job, repetitions of one message left out. */
export function eventsOnce(receiver: Receiver, jobId: string): string[] {
  const seen = new Map<string, string>();
  for (const { jobId: of, headers, event } of receiver.received) {
    if (of === jobId) seen.set(String(headers['webhook-id']), event);
  }
  return [...seen.values()];
}

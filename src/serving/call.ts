/** One call of a model server: no redirects, no proxies, bounded time and answer. */
import { type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { servingErrors } from './errors.ts';

/** A model server to call. */
export type Replica = {
  /** What people read: host and port. */
  readonly name: string;
  /** Base address. */
  readonly url: string;
  /** Address to connect to where the host name stands for several. */
  readonly address?: string;
  /** Sent as `Authorization: Bearer`. */
  readonly key?: string;
};

/** An answer, whatever its status. */
export type Answer = { readonly status: number; readonly body: unknown };

/** What a call sends. */
export type CallOptions = {
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  readonly timeoutMs?: number;
  readonly signal: AbortSignal;
};

/** A list of models or a probe takes moments; a busy CPU takes seconds for a prompt. */
const TIMEOUT_MS = 30_000;
/** A list of thousands of adapters, or the log-probabilities of a prompt, is far below this. */
const MAX_ANSWER_BYTES = 4 << 20;

/**
 * Sends a request and reads the answer as JSON; undefined where it is none. Targets are the operator’s, so private addresses are
 * fine. Errors: `replica-unavailable` when there is no answer in time, or one that is too long; the signal’s reason.
 */
export async function callReplica(replica: Replica, options: CallOptions): Promise<Answer> {
  const { method = 'GET', path, body, timeoutMs = TIMEOUT_MS } = options;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)]);
  try {
    const response = await send(replica, { method, path, body, signal });
    const text = await readAll(response);
    return { status: response.statusCode ?? 0, body: parse(text) };
  } catch (cause) {
    options.signal.throwIfAborted();
    const why = signal.aborted ? `within ${timeoutMs / 1000} s` : 'as HTTP';
    throw servingErrors.unavailable(`${replica.name} does not answer ${why}.`, { cause });
  }
}

function send(
  { url, address, key }: Replica,
  {
    method,
    path,
    body,
    signal,
  }: { method: string; path: string; body: object | undefined; signal: AbortSignal },
): Promise<IncomingMessage> {
  const target = new URL(path, url);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const options: RequestOptions & { servername?: string } = {
    method,
    signal,
    // A connection of its own: a server that has just restarted resets the kept ones.
    agent: false,
    ...(address !== undefined && { host: address, servername: target.hostname }),
    headers: {
      host: target.host,
      accept: 'application/json',
      ...(key !== undefined && { authorization: `Bearer ${key}` }),
      ...(text !== undefined && {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(text)),
      }),
    },
  };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = (target.protocol === 'https:' ? requestHttps : requestHttp)(target, options, resolve);
  request.on('error', reject);
  request.end(text);
  return promise;
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_ANSWER_BYTES) throw new RangeError(`The answer has more than ${MAX_ANSWER_BYTES} bytes.`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

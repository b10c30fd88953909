/** One attempt to hand a message to a receiver, over kept connections. */
import {
  Agent as HttpAgent,
  type IncomingMessage,
  type RequestOptions,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { LoradropError } from '../base/errors.ts';
import type { AddressGuard } from './address-guard.ts';
import { webhookErrors } from './errors.ts';

/** How long one attempt may take, from the look-up of the name to the end of the answer. */
const TIMEOUT_MS = 15_000;
/** An answer means its status; more of it than this is not read. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Idle connections kept to one receiver. */
const MAX_IDLE_SOCKETS = 8;
/** Longest `Retry-After` that is believed: retries end after a day. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/** Why a receiver has not answered; safe to show. */
export const SEND_FAILURES = [
  'address-refused',
  'name-unresolvable',
  'connection-refused',
  'connection-reset',
  'tls-failed',
  'timeout',
  'not-http',
  'unreachable',
] as const;
/** One of {@link SEND_FAILURES}. */
export type SendFailure = (typeof SEND_FAILURES)[number];

/** What came of an attempt. */
export type SendOutcome =
  | { readonly status: number; readonly retryAfterMs?: number }
  | { readonly failure: SendFailure };

/** A message and where it goes. */
export type Sending = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
};

/** Sends messages. */
export type WebhookClient = {
  /** Never rejects but with the signal's reason. */
  send(sending: Sending): Promise<SendOutcome>;
  /** Ends all connections. */
  close(): void;
};

/** Options of {@link createWebhookClient}. */
export type WebhookClientOptions = {
  readonly guard: Pick<AddressGuard, 'parse' | 'lookup'>;
  readonly timeoutMs?: number;
  readonly maxAnswerBytes?: number;
  readonly now?: () => number;
};

/**
 * Makes a {@link WebhookClient}. Redirects are not followed, and proxies of the environment are not used: an agent of our
 * own does not look there.
 */
export function createWebhookClient(options: WebhookClientOptions): WebhookClient {
  const { guard, timeoutMs = TIMEOUT_MS, maxAnswerBytes = MAX_ANSWER_BYTES, now = Date.now } = options;
  const pooling = { keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS };
  const agents = { 'http:': new HttpAgent(pooling), 'https:': new HttpsAgent(pooling) };

  /** The answer, read to its end or its limit. */
  async function exchange({ url, headers, body }: Sending, signal: AbortSignal): Promise<SendOutcome> {
    const target = guard.parse(url);
    const secure = target.protocol === 'https:';
    const requestOptions: RequestOptions = {
      method: 'POST',
      agent: agents[secure ? 'https:' : 'http:'],
      lookup: guard.lookup(target),
      signal,
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (secure ? requestHttps : requestHttp)(target, requestOptions, resolve);
    request.on('error', (error) => {
      // The receiver closed a kept connection just as it was taken; a new one tells whether it answers.
      const stale = request.reusedSocket && codeOf(error) === 'ECONNRESET';
      reject(stale ? STALE : error);
    });
    request.end(body);
    const response = await promise;
    await drain(response).catch(() => undefined);
    const retryAfterMs = readRetryAfter(response.headers['retry-after'], now());
    return { status: response.statusCode ?? 0, ...(retryAfterMs !== undefined && { retryAfterMs }) };
  }

  /** A connection can be used again only when the answer was read to its end. */
  async function drain(response: IncomingMessage): Promise<void> {
    let bytes = 0;
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      // Leaving the loop destroys the response and with it the connection.
      if (bytes > maxAnswerBytes) return;
    }
  }

  return {
    async send(sending) {
      const signal = AbortSignal.any([sending.signal, AbortSignal.timeout(timeoutMs)]);
      try {
        return await exchange(sending, signal).catch((error) => {
          if (error !== STALE) throw error;
          return exchange(sending, signal);
        });
      } catch (error) {
        sending.signal.throwIfAborted();
        return { failure: signal.aborted ? 'timeout' : failureOf(error) };
      }
    },
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

const STALE = new Error('A kept connection was closed by the receiver.');
const codeOf = (error: unknown) => String((error as NodeJS.ErrnoException).code ?? '');

function failureOf(error: unknown): SendFailure {
  if (error instanceof LoradropError) {
    return error.code === webhookErrors.unresolvable.spec.code ? 'name-unresolvable' : 'address-refused';
  }
  const code = codeOf(error);
  if (code === 'ECONNREFUSED') return 'connection-refused';
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'connection-reset';
  if (code.startsWith('HPE_')) return 'not-http';
  if (/^(ERR_TLS|ERR_SSL|EPROTO|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO_)/.test(code)) return 'tls-failed';
  return 'unreachable';
}

/** `Retry-After` as seconds or as a date, in milliseconds from now; undefined when there is none that can be read. */
export function readRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^[0-9]{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

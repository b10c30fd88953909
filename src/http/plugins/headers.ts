/** Request ids and the headers that every answer carries. */
import type { IncomingMessage } from 'node:http';
import { newId } from '../../base/ids.ts';
import { httpErrors } from '../errors.ts';
import type { App } from '../services.ts';

/** Longest URL: every address and query of this API is far shorter; below Node's 16 KiB for the whole head. */
export const MAX_URL_CHARS = 8192;
/** What a client's own request id may look like: safe in headers, logs and JSON. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Headers of every answer: nothing is sniffed, framed or run, no address leaks, nothing is cached unless it says so. */
export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
} as const;

/** The client's `X-Request-Id` when it is well-formed, else a new id. */
export function requestIdOf(
  headers: IncomingMessage['headers'],
  random?: (bytes: number) => Uint8Array,
): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : newId('req', random);
}

/** Puts the request id and the security headers on every answer. */
export function installHeaders(app: App): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id).headers(SECURITY_HEADERS);
  });
}

/** Refuses addresses that are too long, and what no browser page should ask. */
export function installRequestChecks(app: App): void {
  app.addHook('onRequest', async (request) => {
    if (request.url.length > MAX_URL_CHARS) {
      throw httpErrors.uriTooLong(`An address has at most ${MAX_URL_CHARS} characters.`);
    }
    // Browsers send simple POSTs of any page to any address, so a page could otherwise start jobs on a local service.
    if (
      request.headers['sec-fetch-site'] === 'cross-site' &&
      request.method !== 'GET' &&
      request.method !== 'HEAD'
    ) {
      throw httpErrors.crossSite('The request was sent by a page of another site.');
    }
  });
}

/** Refuses requests that are addressed to another host, before anything else of them is looked at. */
import type { FastifyRequest } from 'fastify';
import { httpErrors } from '../errors.ts';
import { type HostRule, hostNameOf } from '../hosts.ts';
import type { App } from '../services.ts';

/** The authority of an absolute-form request target, `GET http://host:port/path`. */
const ABSOLUTE_FORM = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;

/** Makes the application serve only requests whose every host the rule allows. */
export function installHostCheck(app: App, rule: HostRule): void {
  app.addHook('onRequest', async (request) => {
    const { localAddress } = request.raw.socket;
    for (const authority of authoritiesOf(request)) {
      const name = hostNameOf(authority);
      if (name === undefined) throw httpErrors.requestMalformed('The host of the request is malformed.');
      if (!rule.allows(name, localAddress)) throw httpErrors.misdirected(rule.refusal);
    }
  });
}

/**
 * Every host that a request names. All of them have to be allowed and none takes the place of another: the request target
 * wins over `Host` in HTTP, and what a trusted proxy forwards a page on this machine could also have written.
 */
function authoritiesOf(request: FastifyRequest): string[] {
  const { rawHeaders, httpVersion } = request.raw;
  const hosts = hostHeaders(rawHeaders);
  if (hosts.length > 1) throw httpErrors.requestMalformed('The request has more than one Host header.');
  if (hosts.length === 0 && httpVersion === '1.1')
    throw httpErrors.requestMalformed('The request has no Host header.');
  const target = ABSOLUTE_FORM.exec(request.originalUrl)?.[1];
  return [...hosts, ...(target === undefined ? [] : [target]), request.host];
}

/** The values of all `Host` headers. Node's own `headers` keeps the first of several and drops the others. */
function hostHeaders(rawHeaders: readonly string[]): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]!.toLowerCase() === 'host') values.push(rawHeaders[index + 1]!);
  }
  return values;
}

/** Who asks, whether it may, and how often: before anything of a request but its head is looked at. */
import type { FastifyReply } from 'fastify';
import type { Authenticate } from '../../access/authenticate.ts';
import { type Caller, hasScope, type Limits, type Scope } from '../../access/caller.ts';
import { accessErrors } from '../../access/errors.ts';
import { LoradropError } from '../../base/errors.ts';
import type { RatePolicy, RequestRates } from '../../queue/request-rates.ts';
import type { App } from '../services.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Scope that a request needs, or `public` for what anybody may see. Every route names one. */
    access?: Scope | 'public';
  }
  interface FastifyRequest {
    /** Who sent the request. On public routes it is nobody, and reading it fails. */
    readonly caller: Caller;
  }
}

/** What {@link installAccess} works with. */
export type AccessServices = {
  readonly authenticate: Authenticate;
  readonly rates: RequestRates;
};

/** A window of a second or more, so that a burst of one still lets the average through. */
function policyOf({ requestsPerSecond, requestBurst }: Limits): RatePolicy | undefined {
  if (requestsPerSecond === undefined) return undefined;
  const burst = Math.max(1, requestBurst ?? Math.ceil(requestsPerSecond));
  return { burst, windowSeconds: Math.max(1, Math.round(burst / requestsPerSecond)) };
}

/**
 * Makes the application ask every request for its key, hold it to the scope that its route names, and count it. Errors:
 * `key-missing`, `key-invalid`, `key-expired`, `scope-missing`, `rate-limit-exceeded`.
 */
export function installAccess(app: App, { authenticate, rates }: AccessServices): void {
  app.decorateRequest('caller', {
    getter() {
      throw new TypeError('A public route knows no caller.');
    },
  });
  app.addHook('onRoute', (route) => {
    const { url, config, schema } = route;
    // Refusals of other methods and the files of the documentation page are hidden, and show nothing of anybody's.
    if (config?.access === undefined && !schema?.hide) throw new TypeError(`${url} names no access.`);
    if (!schema || schema.hide) return;
    const scopes = config?.access === 'public' ? undefined : [config!.access!];
    schema.security = scopes ? [{ apiKey: scopes }, { apiKeyAsPassword: scopes }] : [];
  });
  app.addHook('onRequest', async (request, reply) => {
    const { access = 'public' } = request.routeOptions.config;
    if (access === 'public' || request.is404) return;
    const caller = identify(request.headers.authorization, reply);
    Object.defineProperty(request, 'caller', { value: caller });
    if (request.seen) request.seen.tenant = caller.tenant;
    await countRequest(rates, `${caller.tenant}/${caller.keyName ?? 'anyone'}`, caller.limits, reply);
    if (!hasScope(caller, access)) {
      throw accessErrors.scopeMissing(
        `It needs the scope ${access}; the key ${caller.keyName} has ${caller.scopes.join(', ')}.`,
      );
    }
  });

  function identify(authorization: string | undefined, reply: FastifyReply): Caller {
    try {
      return authenticate(authorization);
    } catch (error) {
      if (error instanceof LoradropError) {
        const reason = authorization === undefined ? '' : ', error="invalid_token"';
        reply.header('www-authenticate', `Bearer realm="loradrop"${reason}`);
      }
      throw error;
    }
  }
}

/**
 * Counts a request of somebody who may send so many. Fields of the answer as in draft-ietf-httpapi-ratelimit-headers;
 * refused requests are counted too, so that retrying at once gains nothing. Errors: `rate-limit-exceeded`.
 */
export async function countRequest(
  rates: RequestRates,
  who: string,
  limits: Limits,
  reply: FastifyReply,
): Promise<void> {
  const policy = policyOf(limits);
  if (!policy) return;
  const { allowed, remaining, resetMs } = await rates.take(who, policy);
  const resetSeconds = Math.ceil(resetMs / 1000);
  reply.header('ratelimit-policy', `"requests";q=${policy.burst};w=${policy.windowSeconds}`);
  reply.header('ratelimit', `"requests";r=${remaining};t=${resetSeconds}`);
  if (allowed) return;
  throw accessErrors.rateExceeded(`${policy.burst} requests in ${policy.windowSeconds} s are allowed.`, {
    retryAfterSeconds: Math.max(1, resetSeconds),
  });
}

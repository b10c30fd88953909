import { modelErrors } from '../errors.ts';

/** How requests reach a Hub. */
export type HubConnection = {
  /** Where the Hub is: `https://huggingface.co`. */
  readonly endpoint: string;
  /** Opens private and gated repositories. */
  readonly token?: string | undefined;
  readonly fetch?: typeof fetch;
  readonly signal?: AbortSignal | undefined;
};

/** Answers that mean the same request may do better later. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Longest rest that is worth reading to keep a connection. */
const MAX_DRAIN_BYTES = 1 << 16;

/**
 * The `fetch` to use with a Hub. The token goes to the endpoint's own origin and nowhere else, whatever addresses the Hub
 * answers with; every failure becomes one of ours. Errors: `hub-unreachable`, `hub-refused`, `hub-not-found`.
 */
export function createHubFetch({
  endpoint,
  token,
  signal,
  fetch: send = fetch,
}: HubConnection): typeof fetch {
  const { origin } = endpointUrl(endpoint);
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init?.headers);
    if (token !== undefined && url.origin === origin) headers.set('authorization', `Bearer ${token}`);
    let response: Response;
    try {
      response = await send(url, { ...init, headers, signal: signal ?? null });
    } catch (cause) {
      throw unreachable(url.host, cause, signal);
    }
    if (response.ok) return response;
    await drain(response);
    throw refusal(url.host, response, token !== undefined);
  };
}

/**
 * Reads the rest of an answer that nothing wants, so that its connection is free again; a long rest is cut off. Cutting off
 * every answer left the next request without one now and then (Node 24: one in some thousands).
 */
export async function drain(response: Response): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > MAX_DRAIN_BYTES) break;
    }
  } catch {
    // Whatever broke the connection here is told by the request that needs it next.
  }
}

/** A connection that failed, as `hub-unreachable` with the system's or the library's code; an abort stays what it is. */
export function unreachable(host: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = inner instanceof Error && 'code' in inner ? ` (${String(inner.code)})` : '';
  return modelErrors.hubUnreachable(`${host} cannot be reached, or the connection broke${code}.`, { cause });
}

function endpointUrl(endpoint: string): URL {
  const url = URL.parse(endpoint);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw modelErrors.hubUnreachable('HF_ENDPOINT is no http:// or https:// address.');
  }
  return url;
}

function refusal(host: string, { status, headers }: Response, hasToken: boolean): unknown {
  const tokenAdvice = hasToken ? 'HF_TOKEN does not open it' : 'it needs HF_TOKEN';
  switch (headers.get('x-error-code')) {
    case 'GatedRepo':
      return modelErrors.hubRefused(
        `The repository is gated: accept its conditions on ${host} first; then ${tokenAdvice}, if that is not so already.`,
      );
    case 'RepoNotFound':
      return modelErrors.hubMissing(`${host} has no such repository, or it is private and ${tokenAdvice}.`);
    case 'RevisionNotFound':
      return modelErrors.hubMissing('The repository has no such revision.');
    case 'EntryNotFound':
      return modelErrors.hubMissing('The repository has lost a file since it was listed.');
  }
  if (status === 401 || status === 403) {
    return modelErrors.hubRefused(`${host} refuses access (${status}): ${tokenAdvice}.`);
  }
  if (status === 404) return modelErrors.hubMissing(`${host} answered 404.`);
  if (PASSING.has(status)) return modelErrors.hubUnreachable(`${host} answered ${status}.`);
  return modelErrors.hubAnswer(`${host} answered ${status}.`);
}

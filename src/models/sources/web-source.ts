import { modelErrors } from '../errors.ts';
import { drain } from '../hub/hub-fetch.ts';
import type { BundleSource } from './bundle-source.ts';

/** HTTP statuses worth retrying. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The files below an address of a web server. Errors of reading: `source-unreachable`, `source-unusable`. */
export function webSource(
  base: URL,
  options: { readonly signal?: AbortSignal; readonly fetch?: typeof fetch } = {},
): BundleSource {
  const { signal, fetch: send = fetch } = options;
  const unreachable = (name: string, cause?: unknown) => {
    if (signal?.aborted) return signal.reason;
    return modelErrors.sourceUnreachable(
      `${base.host} cannot be reached, or the connection broke at ${name}.`,
      {
        cause,
      },
    );
  };
  return {
    async *read(name, { fromByte }) {
      const url = new URL(base);
      url.pathname = `${base.pathname.replace(/\/+$/, '')}/${encodeURIComponent(name)}`;
      // Compressed on the way, the bytes would not be those that a range counts.
      const headers = { range: `bytes=${fromByte}-`, 'accept-encoding': 'identity' };
      const response = await send(url, { headers, signal: signal ?? null }).catch((cause) => {
        throw unreachable(name, cause);
      });
      const start = response.status === 206 ? contentStart(response) : 0;
      if (!response.ok || start > fromByte) {
        await drain(response);
        const said = `${base.host} answered ${response.status} for ${name}.`;
        throw PASSING.has(response.status)
          ? modelErrors.sourceUnreachable(said)
          : modelErrors.sourceUnusable(said);
      }
      let skip = fromByte - start;
      try {
        for await (const chunk of response.body ?? []) {
          // A server without ranges gives the file from its start.
          if (chunk.length > skip) yield chunk.subarray(skip);
          skip = Math.max(0, skip - chunk.length);
        }
      } catch (cause) {
        throw unreachable(name, cause);
      }
    },
  };
}

/** The first byte of a partial answer; one that does not say is of no use. */
function contentStart(response: Response): number {
  const [, start] = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '') ?? [];
  return start === undefined ? Number.POSITIVE_INFINITY : Number(start);
}

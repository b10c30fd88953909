import { datasetInfo, fileDownloadInfo, listFiles, modelInfo } from '@huggingface/hub';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { LoradropError } from '../../base/errors.ts';
import { modelErrors } from '../errors.ts';
import type { HubAddress } from './address.ts';
import { createHubFetch, drain, type HubConnection, unreachable } from './hub-fetch.ts';

/** A file of a repository. */
export type HubFile = {
  /** With `/` between folders; nothing in it leads out of the folder it is put into. */
  readonly path: string;
  readonly bytes: number;
  /** What the Hub says its bytes hash to: SHA-256 for large files, git's own digest of a blob for the others. */
  readonly digest: { readonly algorithm: 'sha256' | 'git-sha1'; readonly hex: string };
};

/** A repository at one commit. */
export type HubRepository = {
  /** 40 hex digits. */
  readonly commit: string;
  readonly files: readonly HubFile[];
  /**
   * The bytes of a file from `fromByte` to its end, never more of them.
   * Errors: those of {@link createHubFetch}; `hub-answer-invalid`.
   */
  read(file: HubFile, options: { fromByte: number }): AsyncIterable<Uint8Array>;
};

/** Most entries of a repository: those of the published generators have below a hundred. */
const MAX_ENTRIES = 20_000;
/** Most pages of its listing; the Hub puts up to 1000 entries on each. */
const MAX_PAGES = 1000;
/** Largest answer that is not a file: a page of 1000 entries takes about 300 kB. */
const MAX_ANSWER_BYTES = 16 << 20;
/** Longest path, and deepest folder: what common file systems take. */
const MAX_PATH_LENGTH = 1024;
const MAX_PATH_DEPTH = 16;
/** A name that is safe on every file system: no hidden file, no separator, drive, control character or device path. */
const SEGMENT = /^[^\s./\\:*?"<>|\p{Cc}][^/\\:*?"<>|\p{Cc}]{0,254}$/u;

const Entry = Type.Object({
  type: Type.String(),
  path: Type.String({ maxLength: MAX_PATH_LENGTH }),
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  oid: Type.String({ pattern: '^[0-9a-f]{40}$' }),
  lfs: Type.Optional(
    Type.Object({
      oid: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    }),
  ),
});
const entries = Compile(Entry);
const commits = Compile(Type.Object({ sha: Type.String({ pattern: '^[0-9a-f]{40}$' }) }));

/**
 * Looks up a repository: which commit the revision is now, and what files that has. Hidden files are left out.
 * Errors: `hub-unreachable`, `hub-refused`, `hub-not-found`; `hub-answer-invalid` for what no Hub answers, a path that leads
 * elsewhere, or more files than the limit.
 */
export async function openRepository(address: HubAddress, connection: HubConnection): Promise<HubRepository> {
  const { kind, repository, revision } = address;
  const send = createHubFetch(connection);
  const hubUrl = connection.endpoint.replace(/\/+$/, '');
  const repo = { type: kind, name: repository } as const;
  const question = {
    name: repository,
    revision,
    hubUrl,
    fetch: limited(send),
    additionalFields: ['sha' as const],
  };
  const info = await understood(kind === 'model' ? modelInfo(question) : datasetInfo(question));
  if (!commits.Check(info)) throw modelErrors.hubAnswer('The Hub does not say which commit the revision is.');
  const commit = info.sha;

  async function* read(file: HubFile, { fromByte }: { fromByte: number }): AsyncGenerator<Uint8Array> {
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    const place = await understood(
      fileDownloadInfo({ repo, path, revision: commit, hubUrl, fetch: headOnly(send) }),
    );
    if (place?.size !== file.bytes) {
      throw modelErrors.hubAnswer(`${file.path} has another size than the listing of the repository says.`);
    }
    // Compressed on the way, the bytes would not be those that a range counts.
    const headers = { range: `bytes=${fromByte}-`, 'accept-encoding': 'identity' };
    const response = await send(place.url, { headers });
    const start = response.status === 206 ? contentStart(response) : 0;
    if (start !== fromByte) {
      await drain(response);
      throw modelErrors.hubAnswer(`The Hub gives ${file.path} from byte ${start} on, not from ${fromByte}.`);
    }
    let left = file.bytes - fromByte;
    try {
      for await (const chunk of response.body ?? []) {
        left -= chunk.length;
        if (left < 0) throw modelErrors.hubAnswer(`The Hub gives more bytes of ${file.path} than it has.`);
        yield chunk;
      }
    } catch (cause) {
      if (cause instanceof LoradropError) throw cause;
      throw unreachable(new URL(place.url).host, cause, connection.signal);
    }
    if (left > 0) throw unreachable(new URL(place.url).host, undefined, connection.signal);
  }

  const listing = listFiles({
    repo,
    recursive: true,
    revision: commit,
    hubUrl,
    fetch: limited(send, MAX_PAGES),
  });
  return { commit, files: await readListing(listing), read };
}

async function readListing(listing: AsyncIterator<unknown>): Promise<HubFile[]> {
  const files = new Map<string, HubFile>();
  for (let count = 0; ; count++) {
    const { done, value } = await understood(listing.next());
    if (done) return [...files.values()];
    if (count >= MAX_ENTRIES) {
      throw modelErrors.hubAnswer(`The repository has more than ${MAX_ENTRIES} entries.`);
    }
    if (!entries.Check(value))
      throw modelErrors.hubAnswer('The Hub lists something that is no file or folder.');
    if (value.type !== 'file') continue;
    const segments = value.path.split('/');
    // Git keeps its own settings in such files; whatever else they may be, nothing here reads them.
    if (segments.some((segment) => /^\.[^.]/.test(segment))) continue;
    if (segments.length > MAX_PATH_DEPTH || !segments.every((segment) => SEGMENT.test(segment))) {
      throw modelErrors.hubAnswer(
        `The repository has a path that cannot be used: ${JSON.stringify(value.path)}.`,
      );
    }
    // Some file systems do not tell such names apart.
    const key = value.path.normalize().toLowerCase();
    if (files.has(key)) {
      throw modelErrors.hubAnswer(`The repository has ${value.path} twice but for upper and lower case.`);
    }
    files.set(key, hubFile(value));
  }
}

function hubFile({ path, size, oid, lfs }: Static<typeof Entry>): HubFile {
  return lfs
    ? { path, bytes: lfs.size, digest: { algorithm: 'sha256', hex: lfs.oid } }
    : { path, bytes: size, digest: { algorithm: 'git-sha1', hex: oid } };
}

/** The first byte of a partial answer, or −1 where it does not say. */
function contentStart(response: Response): number {
  const [, start] = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '') ?? [];
  return start === undefined ? -1 : Number(start);
}

/** What the client library makes of an answer, its own failures as `hub-answer-invalid`. */
async function understood<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (cause) {
    if (cause instanceof LoradropError || (cause instanceof Error && cause.name === 'AbortError'))
      throw cause;
    throw modelErrors.hubAnswer('The Hub’s answer is not what its client expects.', { cause });
  }
}

/** The same `fetch` for answers of which only the head is read: an unread body would hold its connection. */
function headOnly(send: typeof fetch): typeof fetch {
  return async (input, init) => {
    const response = await send(input, init);
    await drain(response);
    return response;
  };
}

/** The same `fetch` for a number of answers of bounded size. */
function limited(send: typeof fetch, maxRequests = 1): typeof fetch {
  let requests = 0;
  return async (input, init) => {
    if (++requests > maxRequests) {
      throw modelErrors.hubAnswer(`The Hub’s listing has more than ${maxRequests} pages.`);
    }
    const response = await send(input, init);
    let bytes = 0;
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length;
        if (bytes <= MAX_ANSWER_BYTES) controller.enqueue(chunk);
        else
          controller.error(modelErrors.hubAnswer(`An answer of the Hub exceeds ${MAX_ANSWER_BYTES} bytes.`));
      },
    });
    return new Response(response.body?.pipeThrough(counter) ?? null, response);
  };
}

/** Servers that answer as a Hugging Face Hub and the content network behind it do, for the tests of `src/models/hub`. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file of the repository; `large` ones lie on the content network, as those in Git LFS do. */
export type ServedFile = { readonly content: Uint8Array; readonly large?: boolean };

/** What the servers do other than a sound Hub, and what they noticed. Tests change it between requests. */
export type HubState = {
  files: Record<string, ServedFile>;
  commit: string;
  /** Needed for everything, where it is set. */
  token: string | undefined;
  isGated: boolean;
  /** Bytes after which the connection that carries a file is cut, once for each number. */
  cuts: number[];
  /** A file whose connection stays open, but says nothing more after so many bytes. */
  stall: { path: string; bytes: number } | undefined;
  /** Files that arrive with their last byte changed. */
  damaged: Set<string>;
  /** Statuses that the next requests for a file get. */
  statuses: number[];
  /** Entries in the listing in place of the real ones. */
  listing: unknown[] | undefined;
  ignoresRanges: boolean;
  /** `Range` of every request for bytes of a file. */
  readonly ranges: string[];
  /** What the content network was sent as `Authorization`. */
  readonly leaked: string[];
};

const REPOSITORY = 'lab/generator';
const PAGE_ENTRIES = 2;

/** Starts both servers; `close` ends them. */
export async function startHub(files: Record<string, ServedFile>) {
  const state: HubState = {
    files,
    commit: 'c'.repeat(40),
    token: undefined,
    isGated: false,
    cuts: [],
    stall: undefined,
    damaged: new Set(),
    statuses: [],
    listing: undefined,
    ignoresRanges: false,
    ranges: [],
    leaked: [],
  };
  const network = await listen((request, response) => {
    if (request.headers.authorization) state.leaked.push(request.headers.authorization);
    sendBytes(state, decodeURIComponent(request.url!.slice(1)), request, response);
  });
  const hub = await listen((request, response) => answer(state, network.url, request, response));
  return {
    state,
    url: hub.url,
    repository: REPOSITORY,
    async close() {
      await Promise.all([hub.close(), network.close()]);
    },
  };
}

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(state: HubState, network: string, request: IncomingMessage, response: ServerResponse) {
  const url = new URL(request.url!, `http://${request.headers.host}`);
  const fail = (status: number, code: string) => {
    response.writeHead(status, { 'content-type': 'application/json', 'x-error-code': code });
    response.end(JSON.stringify({ error: code }));
  };
  const json = (value: unknown, headers: Record<string, string> = {}) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(value));
  };
  const [, kind, rest = ''] = /^\/api\/(models|datasets)\/(.*)$/.exec(url.pathname) ?? [];
  const place = kind ? rest : url.pathname.slice(1).replace(/^datasets\//, '');
  if (!place.startsWith(`${REPOSITORY}/`)) return fail(404, 'RepoNotFound');
  if (state.token !== undefined && request.headers.authorization !== `Bearer ${state.token}`) {
    return state.isGated ? fail(401, 'GatedRepo') : fail(401, 'RepoNotFound');
  }
  const [verb, revision, ...path] = place.slice(REPOSITORY.length + 1).split('/');
  if (!['main', 'v1', state.commit].includes(decodeURIComponent(revision!)))
    return fail(404, 'RevisionNotFound');

  if (verb === 'revision') {
    return json({
      _id: '1',
      id: REPOSITORY,
      sha: state.commit,
      private: false,
      lastModified: '2026-01-01T00:00:00Z',
    });
  }
  if (verb === 'tree') {
    const entries = state.listing ?? listing(state.files);
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const next = new URL(url);
    next.searchParams.set('cursor', String(start + PAGE_ENTRIES));
    const more = start + PAGE_ENTRIES < entries.length;
    return json(entries.slice(start, start + PAGE_ENTRIES), more ? { link: `<${next}>; rel="next"` } : {});
  }
  const name = path.map(decodeURIComponent).join('/');
  const file = state.files[name];
  if (!file) return fail(404, 'EntryNotFound');
  const status = state.statuses.shift();
  if (status !== undefined) return fail(status, '');
  response.setHeader('x-repo-commit', state.commit);
  if (!file.large) return sendBytes(state, name, request, response);
  response.setHeader('x-linked-size', String(file.content.length));
  response.setHeader('x-linked-etag', `"${sha256Of(file.content)}"`);
  if (request.headers.accept?.includes('application/vnd.xet-fileinfo+json')) {
    response.setHeader('x-xet-hash', sha256Of(file.content));
    const link = (rel: string) => `<${network}/${rel}>; rel="${rel}"`;
    response.setHeader('link', `${link('xet-auth')}, ${link('xet-reconstruction-info')}`);
    response.writeHead(200, { 'content-type': 'application/vnd.xet-fileinfo+json' });
    response.end('{}');
    return;
  }
  response.writeHead(302, { location: `${network}/${encodeURIComponent(name)}` }).end();
}

function sendBytes(state: HubState, name: string, request: IncomingMessage, response: ServerResponse): void {
  const { content } = state.files[name]!;
  const range = request.headers.range ?? '';
  const isProbe = range === 'bytes=0-0';
  if (!isProbe) state.ranges.push(range);
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
  const start = first === undefined || (state.ignoresRanges && !isProbe) ? 0 : Number(first);
  const end = last ? Number(last) + 1 : content.length;
  const body = Buffer.from(content.subarray(start, end));
  if (state.damaged.has(name) && end === content.length) body[body.length - 1]! ^= 1;
  response.setHeader('etag', `"${state.files[name]!.large ? sha256Of(content) : gitDigest(content)}"`);
  if (first !== undefined && (isProbe || !state.ignoresRanges)) {
    response.writeHead(206, { 'content-range': `bytes ${start}-${end - 1}/${content.length}` });
  } else response.writeHead(200, { 'content-length': body.length });
  if (isProbe) response.end(body);
  else if (state.stall?.path === name) response.write(body.subarray(0, state.stall.bytes));
  else {
    const cut = state.cuts.shift();
    if (cut === undefined) response.end(body);
    else response.write(body.subarray(0, cut), () => response.destroy());
  }
}

/** The listing of the Hub: folders and files, large ones with their pointer's digest and their own. */
function listing(files: Record<string, ServedFile>): unknown[] {
  const folders = new Set(
    Object.keys(files).flatMap((path) => (path.includes('/') ? [path.slice(0, path.lastIndexOf('/'))] : [])),
  );
  return [
    ...[...folders].map((path) => ({ type: 'directory', oid: 'd'.repeat(40), size: 0, path })),
    ...Object.entries(files).map(([path, { content, large }]) => ({
      type: 'file',
      path,
      size: content.length,
      oid: large ? 'e'.repeat(40) : gitDigest(content),
      ...(large && { lfs: { oid: sha256Of(content), size: content.length, pointerSize: 134 } }),
    })),
  ];
}

function sha256Of(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

function gitDigest(content: Uint8Array): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

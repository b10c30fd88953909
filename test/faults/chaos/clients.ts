/** Clients under which the fleet is broken: they submit with idempotency keys, follow by polling or events, and fetch what was made. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { Adapter, Job } from '../../../src/http/schemas.ts';
import { LARGE_MODEL, QUICK_MODEL } from './fleet.ts';

/** How long one request may take before a client asks another process. */
const REQUEST_TIMEOUT_MS = 15_000;
/** Streams say something each 15 s. */
const SILENCE_MS = 20_000;
/** The pause between two polls, which grows: clients of a service that is slow are not what makes it slow. */
const POLL_MS = { first: 150, most: 1000 };
/** A client that gets nothing for so long gives up, which is a job lost. */
const PATIENCE_MS = 900_000;
/** Longest pause a client makes for Retry-After, so that the recovery of the service shows and not the client's. */
const MAX_PAUSE_MS = 1000;
/** The pause after a failure, which doubles. */
const FIRST_PAUSE_MS = 125;

const PROMPTS = ['Which gas do plants take in?', 'Why does ice float on water?', 'What is a prime number?'];
const FINAL = ['succeeded', 'failed', 'canceled'] as const;

/** A job as its client knows it. Times are of the monotonic clock. */
export type ClientJob = {
  readonly key: string;
  readonly large: boolean;
  readonly follows: 'polling' | 'events';
  readonly cancels: boolean;
  readonly submittedAt: number;
  acceptedAt?: number;
  id?: string;
  finishedAt?: number;
  final?: Job;
  /** The adapter was fetched, its digests are right, and it was removed by its client. */
  removed?: boolean;
  checked?: boolean;
};

/** What clients have seen. */
export type Load = {
  readonly jobs: readonly ClientJob[];
  /** What must not happen. */
  readonly violations: readonly string[];
  /** HTTP statuses and failures seen on the way, with counts: what a client had to try again for. */
  readonly repeated: ReadonlyMap<string, number>;
  /** Resolves at the next job that a client sees finished after this call. */
  nextFinished(): Promise<number>;
  /** Begins no more jobs, and waits for all that were begun. */
  finish(): Promise<void>;
};

/** Options of {@link startLoad}. */
export type LoadOptions = {
  readonly apis: readonly string[];
  readonly webhook: string;
  readonly random: RandomGenerator;
  /** Jobs begun each second. */
  readonly jobsPerSecond: number;
  /** Jobs on their way at once; beyond it clients wait. */
  readonly maxInFlight: number;
  /** One job in so many is of the large model. */
  readonly largeEvery: number;
};

/** Starts clients that keep beginning jobs. */
export function startLoad(options: LoadOptions): Load {
  const { apis, random, jobsPerSecond, maxInFlight, largeEvery } = options;
  const jobs: ClientJob[] = [];
  const violations: string[] = [];
  const repeated = new Map<string, number>();
  const inFlight = new Set<Promise<void>>();
  const stopping = new AbortController();
  let waiting: ((at: number) => void)[] = [];

  const someApi = () => apis[Math.floor(Math.random() * apis.length)]!;
  const note = (what: string) => repeated.set(what, (repeated.get(what) ?? 0) + 1);

  /** Asks until an answer is one that `take` wants; undefined after {@link PATIENCE_MS}. */
  async function ask<T>(
    path: string,
    init: RequestInit,
    take: (answer: Response) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let attempt = 0; performance.now() < deadline; attempt++) {
      let pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** attempt, MAX_PAUSE_MS);
      try {
        const answer = await fetch(someApi() + path, {
          ...init,
          signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
        });
        const taken = await take(answer);
        if (taken !== undefined) return taken;
        if (!answer.bodyUsed) await answer.body?.cancel();
        note(`${init.method ?? 'GET'} ${answer.status}`);
        pauseMs = Math.min(1000 * Number(answer.headers.get('retry-after') ?? 1), MAX_PAUSE_MS);
      } catch {
        note(`${init.method ?? 'GET'} without an answer`);
      }
      await delay(pauseMs * (0.5 + Math.random() / 2));
    }
    return undefined;
  }

  /** Statuses that ask a client to come back; any other but the wanted one is a defect. */
  function mayRepeat(job: ClientJob, what: string, { status }: Response): undefined {
    if (![429, 503, 507].includes(status))
      violations.push(`${job.id ?? job.key}: ${what} was answered ${status}`);
    return undefined;
  }

  async function submit(job: ClientJob, body: object): Promise<string | undefined> {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': job.key },
      body: JSON.stringify(body),
    };
    return ask('/generate', init, async (answer) => {
      if (answer.status !== 202 && answer.status !== 200) return mayRepeat(job, 'POST', answer);
      return ((await answer.json()) as Job).id;
    });
  }

  const read = (job: ClientJob): Promise<Job | undefined> =>
    ask(`/jobs/${job.id}`, {}, async (answer) =>
      answer.status === 200 ? ((await answer.json()) as Job) : mayRepeat(job, 'GET', answer),
    );

  async function poll(job: ClientJob): Promise<Job | undefined> {
    const deadline = performance.now() + PATIENCE_MS;
    let pauseMs = POLL_MS.first;
    while (performance.now() < deadline) {
      const seen = await read(job);
      if (seen && isFinal(seen)) return seen;
      await delay(pauseMs);
      pauseMs = Math.min(pauseMs * 1.5, POLL_MS.most);
    }
    return undefined;
  }

  async function follow(job: ClientJob): Promise<Job | undefined> {
    let lastEventId = '';
    const deadline = performance.now() + PATIENCE_MS;
    while (performance.now() < deadline) {
      try {
        for await (const event of eventsOf(`${someApi()}/jobs/${job.id}/events`, lastEventId)) {
          if (event.status !== undefined) {
            if (event.status !== 204) mayRepeat(job, 'GET events', { status: event.status } as Response);
            break;
          }
          lastEventId = event.id ?? lastEventId;
          if (FINAL.includes(event.name as Job['status'] & (typeof FINAL)[number])) return event.job;
        }
      } catch {
        note('a stream ended early');
      }
      await delay(MAX_PAUSE_MS * (0.25 + Math.random() / 2));
    }
    return undefined;
  }

  async function fetchAdapter(job: ClientJob): Promise<void> {
    const id = job.final?.adapters[0]?.id;
    const wrong = await adapterFault(ask, (what, answer) => mayRepeat(job, what, answer), id!);
    if (wrong !== undefined) violations.push(`${job.id}: ${wrong}`);
    else job.checked = true;
    if (!job.large) return;
    // Large ones would fill the disk.
    const gone = await ask(`/adapters/${id}`, { method: 'DELETE' }, async (answer) =>
      // 404: an earlier attempt was carried out, and only its answer was lost.
      [204, 404].includes(answer.status) ? true : mayRepeat(job, 'DELETE', answer),
    );
    job.removed = gone === true;
  }

  async function live(job: ClientJob, seed: number): Promise<void> {
    const body = {
      prompts: PROMPTS,
      seed,
      model: job.large ? LARGE_MODEL : QUICK_MODEL,
      ...(job.large && { dtype: 'f32' }),
      webhook: { url: options.webhook },
    };
    const id = await submit(job, body);
    if (id === undefined) return void violations.push(`${job.key}: not accepted in ${PATIENCE_MS / 1000} s`);
    job.id = id;
    job.acceptedAt = performance.now();
    if (seed % 10 === 0) {
      const again = await submit(job, body);
      if (again !== id) violations.push(`${id}: the same key gave ${again}`);
    }
    if (job.cancels) {
      await ask(`/jobs/${id}`, { method: 'DELETE' }, async (answer) =>
        // 409: it is over already, by itself or by an attempt whose answer was lost.
        [200, 409].includes(answer.status) ? true : mayRepeat(job, 'DELETE', answer),
      );
    }
    const final = await (job.follows === 'polling' ? poll(job) : follow(job));
    if (!final) return void violations.push(`${id}: no final state in ${PATIENCE_MS / 1000} s`);
    job.final = final;
    job.finishedAt = performance.now();
    const told = waiting;
    waiting = [];
    for (const resolve of told) resolve(job.finishedAt);
    if (final.status === 'succeeded') await fetchAdapter(job);
  }

  async function begin(): Promise<void> {
    for (let nth = 1; !stopping.signal.aborted; nth++) {
      await delay(1000 / jobsPerSecond, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (inFlight.size >= maxInFlight) await Promise.race(inFlight);
      if (stopping.signal.aborted) return;
      const job: ClientJob = {
        key: `chaos-${nth}`,
        large: nth % largeEvery === 0,
        follows: uniformInt(random, 0, 1) === 0 ? 'polling' : 'events',
        cancels: uniformInt(random, 0, 29) === 0,
        submittedAt: performance.now(),
      };
      jobs.push(job);
      // Some seeds come again, so that adapters are also taken from the store.
      const life = live(job, uniformInt(random, 0, 5) === 0 ? 7 : nth)
        .catch((error) => void violations.push(`${job.id ?? job.key}: ${error}`))
        .finally(() => inFlight.delete(life));
      inFlight.add(life);
    }
  }
  const begun = begin();

  return {
    jobs,
    violations,
    repeated,
    nextFinished: () => new Promise((resolve) => waiting.push(resolve)),
    async finish() {
      stopping.abort();
      await begun;
      await Promise.all(inFlight);
    },
  };
}

const isFinal = ({ status }: Job) => (FINAL as readonly string[]).includes(status);

/** Fetches an adapter and answers what is wrong with it, if anything is. */
async function adapterFault(
  ask: <T>(
    path: string,
    init: RequestInit,
    take: (answer: Response) => Promise<T | undefined>,
  ) => Promise<T | undefined>,
  mayRepeat: (what: string, answer: Response) => undefined,
  id: string,
): Promise<string | undefined> {
  const adapter = await ask(`/adapters/${id}`, {}, async (answer) =>
    answer.ok ? ((await answer.json()) as Adapter) : mayRepeat('GET adapter', answer),
  );
  if (!adapter) return 'its adapter cannot be had';
  for (const { name, sha256, bytes, url } of adapter.files) {
    const got = await ask(url!, {}, async (answer) =>
      answer.ok ? Buffer.from(await answer.arrayBuffer()) : mayRepeat('GET file', answer),
    );
    if (!got) return `${name} cannot be had`;
    const digest = createHash('sha256').update(got).digest('hex');
    if (digest !== sha256 || got.length !== bytes) return `${name} has other bytes than its record says`;
  }
  return undefined;
}

type StreamedEvent = {
  readonly status?: number;
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly job: Job;
};

/** The events of a stream, or its status where it is none. */
async function* eventsOf(url: string, lastEventId: string): AsyncGenerator<StreamedEvent> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const answer = await fetch(url, {
      headers: { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) },
      signal: silence.signal,
    });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      yield { status: answer.status, job: undefined as unknown as Job };
      return;
    }
    let text = '';
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      timer.refresh();
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const fields = new Map(
          block.split('\n').map((line): [string, string] => {
            const at = line.indexOf(': ');
            return [line.slice(0, at), line.slice(at + 2)];
          }),
        );
        const data = fields.get('data');
        if (data !== undefined) {
          yield { id: fields.get('id'), name: fields.get('event'), job: JSON.parse(data) as Job };
        }
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

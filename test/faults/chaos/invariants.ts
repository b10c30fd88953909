/** What has to hold once a fleet was left in peace again. */
import { readdirSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Adapter, Job } from '../../../src/http/schemas.ts';
import { openS3Store } from '../../../src/store/s3.ts';
import { until } from '../../helpers/loradrop-process.ts';
import { objectStorageClient, objectStorageEnvironment } from '../../helpers/object-storage.ts';
import { endUploads, listBucket } from '../bucket.ts';
import type { ClientJob, Load } from './clients.ts';
import type { Fleet } from './fleet.ts';
import type { Holdings } from './kept-process.ts';

/** A receiver that was away at five attempts in a row, as happens to one of thousands, is tried again after up to 36 minutes. */
const QUIET_TIMEOUT_MS = 2_700_000;
const DAY_MS = 86_400_000;
/** Handles come and go with connections that are kept for a while. */
const HANDLES_SLACK = 24;
/** Of heaps that have grown to their working size, and memory that the allocator keeps. */
const MEMORY_SLACK = { factor: 1.5, bytes: 96 << 20 };

/** What was found wrong: of a job, or of the whole. */
export type Violation = { readonly job?: ClientJob; readonly what: string };

/** What was counted on the way. */
export type Findings = {
  readonly violations: readonly Violation[];
  readonly promised: number;
  readonly told: number;
  readonly repeats: number;
  readonly holdings: Readonly<Record<string, { readonly before: Holdings; readonly after: Holdings }>>;
  /** Lines of the processes' logs that tell of errors, by what they say, with counts. */
  readonly logged: Readonly<Record<string, number>>;
};

/** What each process holds now. */
export function holdingsOf({ processes }: Fleet): ReadonlyMap<string, Holdings> {
  return new Map(processes.map((each) => [each.name, each.holdings()]));
}

/** Looks at everything that clients, receiver, queue, store and processes know. Call it when clients and faults have ended. */
export async function checkInvariants(
  fleet: Fleet,
  load: Load,
  before: ReadonlyMap<string, Holdings>,
): Promise<Findings> {
  const violations: Violation[] = load.violations.map((what) => ({ what }));
  const wrong = (what: string, job?: ClientJob) => void violations.push({ what, ...(job && { job }) });
  const accepted = load.jobs.filter(({ id }) => id !== undefined);

  await until(() => isQuiet(fleet), QUIET_TIMEOUT_MS).catch(() =>
    wrong('jobs or webhooks are left in the queue'),
  );
  for (const job of accepted) await checkJob(fleet, job, (what) => wrong(what, job));
  await until(async () => accepted.every(({ id }) => fleet.receiver.told.has(id!)), QUIET_TIMEOUT_MS).catch(
    () => undefined,
  );
  let repeats = 0;
  for (const job of accepted) {
    const told = fleet.receiver.told.get(job.id!);
    if (!told) {
      wrong('its webhook never came', job);
      continue;
    }
    const events = [...told.messages.values()].map(({ event }) => event);
    repeats += told.times - 1;
    if (events.length !== 1 || events[0] !== `job.${job.final?.status}`) {
      wrong(`it is ${job.final?.status}, and its webhooks said ${events.join(', ')}`, job);
    }
  }
  for (const what of fleet.receiver.forged) wrong(`a webhook did not verify: ${what}`);
  for (const what of fleet.receiver.changed) wrong(`a webhook came again with another body: ${what}`);
  for (const { name, how, said } of fleet.unexpectedEnds) wrong(`${name} ended by itself (${how}): ${said}`);
  for (const what of await leftInStore(fleet, load)) wrong(what);
  for (const name of await readdir(fleet.temporary)) wrong(`left in the temporary directory: ${name}`);

  const holdings: Record<string, { before: Holdings; after: Holdings }> = {};
  const outgrown = () => {
    const found: string[] = [];
    for (const { name, holdings: of } of fleet.processes) {
      const [was, is] = [before.get(name)!, of()];
      holdings[name] = { before: was, after: is };
      if (is.handles > was.handles + HANDLES_SLACK)
        found.push(`${name} has ${is.handles} handles, before ${was.handles}`);
      if (is.children !== was.children)
        found.push(`${name} has ${is.children} children, before ${was.children}`);
      if (is.residentBytes > was.residentBytes * MEMORY_SLACK.factor + MEMORY_SLACK.bytes) {
        found.push(`${name} has ${is.residentBytes >> 20} MiB of memory, before ${was.residentBytes >> 20}`);
      }
    }
    return found;
  };
  await until(async () => outgrown().length === 0, 30_000).catch(() => undefined);
  for (const what of outgrown()) wrong(what);
  const strays = strayProcesses(fleet);
  if (strays.length > 0) wrong(`processes without a parent are left: ${strays.join(', ')}`);
  return {
    violations,
    promised: accepted.length,
    told: accepted.filter(({ id }) => fleet.receiver.told.has(id!)).length,
    repeats,
    holdings,
    logged: await errorsLogged(fleet),
  };
}

/** Nothing waits, runs or is put off, in the queue of jobs or in that of webhooks. */
async function isQuiet({ processes }: Fleet): Promise<boolean> {
  const answer = await fetch(`${processes[0]!.url}/metrics`).catch(() => undefined);
  const text = (await answer?.text()) ?? '';
  const counts = [...text.matchAll(/^loradrop_(?:queue_jobs|webhook_queue)\{[^}]*\} (\d+)$/gm)];
  return counts.length > 0 && counts.every(([, count]) => count === '0');
}

/** Its final state is the one that its client saw, and its adapter is there or was removed by its client. */
async function checkJob(fleet: Fleet, job: ClientJob, wrong: (what: string) => void): Promise<void> {
  const { final, id } = job;
  if (!final) return wrong('its client saw no final state');
  const api = fleet.processes.find(({ role }) => role === 'api')!.url;
  const answer = await fetch(`${api}/jobs/${id}`);
  if (!answer.ok) return wrong(`it is answered ${answer.status} now`);
  const now = (await answer.json()) as Job;
  if (now.status !== final.status || now.finishedAt !== final.finishedAt) {
    wrong(`its client saw it ${final.status}, and now it is ${now.status}`);
  }
  if (final.status === 'failed') wrong(`it failed: ${final.error?.code}`);
  if (final.status === 'canceled' && !job.cancels)
    wrong('it was canceled, and its client had not asked for that');
  if (final.status !== 'succeeded') return;
  if (!job.checked) wrong('its adapter was not whole');
  const { status } = await fetch(`${api}/adapters/${final.adapters[0]!.id}`).then(async (found) => {
    if (found.ok) await sameAdapter((await found.json()) as Adapter, final, wrong);
    else await found.body?.cancel();
    return found;
  });
  if (status !== (job.removed ? 404 : 200)) wrong(`its adapter is answered ${status} now`);
}

async function sameAdapter(adapter: Adapter, final: Job, wrong: (what: string) => void): Promise<void> {
  const weights = adapter.files.find(({ name }) => name === 'adapter_model.safetensors');
  if (weights?.sha256 !== final.adapters[0]!.sha256) wrong('its adapter is another one now');
}

/** What the store holds beside whole adapters that clients know of. */
async function leftInStore(fleet: Fleet, { jobs }: Load): Promise<string[]> {
  const known = new Set(jobs.flatMap(({ final }) => final?.adapters.map(({ id }) => id) ?? []));
  const files = ['adapter.json', 'adapter_config.json', 'adapter_model.safetensors'];
  const left: string[] = [];
  const look = (id: string, names: readonly string[]) => {
    if (!known.has(id)) left.push(`an adapter nobody knows of: ${id}`);
    if (names.toSorted().join() !== files.join())
      left.push(`adapter ${id} has the files ${names.join(', ')}`);
  };
  if (fleet.objectStorage) {
    const { server, url } = fleet.objectStorage;
    const client = objectStorageClient(server.port);
    try {
      Object.assign(process.env, objectStorageEnvironment(server.port));
      const prefix = new URL(url).pathname.slice(1);
      // What writers left half-done is removed a day later, as a rule.
      const later = await openS3Store({ url, forcePathStyle: true, now: () => Date.now() + 2 * DAY_MS });
      await later.expired(Date.now(), Number.POSITIVE_INFINITY);
      await later.close();
      left.push(...(await endUploads(client, prefix)).map((upload) => `an upload is open: ${upload}`));
      const byId = Map.groupBy(await listBucket(client, `${prefix}/adapters/`), ({ key }) =>
        key.slice(0, key.lastIndexOf('/')),
      );
      for (const [place, found] of byId) {
        look(
          place.slice(place.lastIndexOf('/') + 1),
          found.map(({ key }) => key.slice(place.length + 1)),
        );
      }
    } finally {
      client.destroy();
    }
    return left;
  }
  const store = join(fleet.disk!, 'store');
  const adapters = join(store, 'adapters', 'default');
  for (const id of await readdir(adapters)) look(id, await readdir(join(adapters, id)));
  // A start removes what dead processes have left; the probe of the store is a draft for a moment.
  const killable = fleet.processes.find(({ mayBeKilled }) => mayBeKilled)!;
  await killable.end('SIGTERM');
  await killable.ready();
  await until(async () => (await readdir(join(store, '.drafts'))).length === 0, 20_000).catch(() =>
    left.push('drafts are left in the store'),
  );
  return left;
}

/** What the processes have logged at the level of errors. */
async function errorsLogged({ directory, processes }: Fleet): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { name } of processes) {
    for (const line of (await readFile(join(directory, `${name}.log`), 'utf8')).split('\n')) {
      if (!/"level":[56]0/.test(line)) continue;
      const {
        msg = '',
        code = '',
        err,
      } = JSON.parse(line) as { msg?: string; code?: string; err?: { type?: string; message?: string } };
      const what = `${name.split('-')[0]}: ${msg} ${code} ${err?.type ?? ''} ${err?.message ?? ''}`
        .trim()
        .slice(0, 200);
      counts[what] = (counts[what] ?? 0) + 1;
    }
  }
  return counts;
}

/** Processes of this fleet that are neither its own nor their children: told apart by their temporary directory. */
function strayProcesses({ processes, temporary }: Fleet): number[] {
  const own = new Set(processes.flatMap((each) => [each.pid(), ...each.children()]));
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return (
          !own.has(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`TMPDIR=${temporary}\0`)
        );
      } catch {
        return false;
      }
    });
}

/**
 * Deployments: an adapter that the replicas of a deploy target are to have. Each is a job of its own in a queue of its own, which
 * ends when all replicas are as they should be and is run again when one is not. That a deployment is wanted is a notice
 * in the index beside the queue, apart from what its runs leave: whoever takes it back and a run cannot undo each other.
 */
import { ADAPTER_GGUF_FILE } from '../adapter/convert-gguf.ts';
import { sha256Json } from '../base/digest.ts';
import { newId, type TenantId } from '../base/ids.ts';
import { inBatches } from '../base/in-batches.ts';
import type { QueueBackend } from '../queue/backend.ts';
import type { IndexEntry } from '../queue/job-index.ts';
import type { QueueCounts } from '../queue/queue.ts';
import { openServiceQueue } from '../queue/service-queue.ts';
import { servingErrors } from '../serving/errors.ts';
import { servedName } from '../serving/served-name.ts';
import type { AdapterFit } from '../serving/targets.ts';
import { commitOf } from '../store/commit.ts';
import type { AdapterStore, StoredAdapter } from '../store/store.ts';
import type { AdapterInfo } from './adapter-info.ts';
import { type Deploy, type DeployPayload, JOB_CATALOG } from './catalog.ts';
import { type Deployment, type DeployResult, presentDeployment } from './deployment.ts';
import type { GenerateRecord } from './generate-queue.ts';

/** Deployments of a tenant that are wanted or not yet forgotten; each is looked at several times a minute. */
export const MAX_TENANT_DEPLOYMENTS = 1000;
/** Deployments of all tenants that are looked at. */
const MAX_DEPLOYMENTS = 10_000;
/** Deployments read at a time. */
const READ_BATCH = 32;

/** A part of {@link Deployments.list}. */
export type DeploymentPage = {
  readonly deployments: readonly Deployment[];
  readonly nextBefore?: IndexEntry;
};

/** Where deployments are kept. */
export type Deployments = {
  /** Adds a deployment, unless there is one of this adapter, target and name that is wanted. Errors: `quota-deployments-exceeded`. */
  add(adapter: StoredAdapter, deploy: Deploy): Promise<Deployment>;
  /** Adds those that a job asks for, once it has succeeded. True when there is nothing left to add. */
  follow(record: GenerateRecord): Promise<boolean>;
  /** Those that a job has asked for, in the order of its adapters; undefined where there is none yet. */
  ofJob(record: GenerateRecord): Promise<readonly JobDeployment[]>;
  find(which: TenantId): Promise<Deployment | undefined>;
  /** Newest first. */
  list(tenant: string, options: { before?: IndexEntry; limit: number }): Promise<DeploymentPage>;
  /** Those of all tenants. */
  all(): Promise<readonly Deployment[]>;
  isWanted(deployment: TenantId & { readonly payload: DeployPayload }): Promise<boolean>;
  /** Takes a deployment back: its job unloads the adapter. Idempotent. */
  takeBack(deployment: Deployment): Promise<void>;
  /** Takes back what there is of an adapter. */
  takeBackAdapter(adapter: TenantId): Promise<void>;
  /** Runs a deployment's job now, unless it runs already. */
  kick(deployment: Deployment): Promise<void>;
  /** Removes the record of a deployment. */
  forget(deployment: Deployment): Promise<void>;
  counts(): Promise<QueueCounts>;
  close(): Promise<void>;
};

/** What a job asks for, and what has come of it. */
export type JobDeployment = Deploy & {
  readonly adapter: string;
  readonly deployment: Deployment | undefined;
};

const FOREVER = Number.MAX_SAFE_INTEGER;

/** Opens the queue of deployments. Errors of all calls: `queue-unavailable`, and those of the store. */
export async function openDeployments(options: {
  backend: QueueBackend;
  store: Pick<AdapterStore, 'of'>;
  now?: () => number;
}): Promise<Deployments> {
  const { backend, store, now = Date.now } = options;
  const index = backend.index('deploy');
  const queue = await openServiceQueue<DeployPayload, DeployResult>({
    backend,
    name: 'deploy',
    ...JOB_CATALOG.deploy.timing,
  });

  const entryOf = ({ tenant, id, payload }: TenantId & { payload: DeployPayload }): IndexEntry => ({
    tenant,
    id,
    acceptedAt: payload.acceptedAt,
  });

  async function find(which: TenantId, wanted?: boolean): Promise<Deployment | undefined> {
    const job = await queue.find(which);
    if (!job) return undefined;
    const isWanted = wanted ?? (await index.hasNotice(entryOf({ ...which, payload: job.payload })));
    return presentDeployment({ tenant: which.tenant, id: which.id }, job, isWanted);
  }

  async function readAll(
    entries: readonly IndexEntry[],
    wanted?: (entry: IndexEntry) => boolean,
  ): Promise<Deployment[]> {
    const read = await inBatches(entries, READ_BATCH, (entry) => find(entry, wanted?.(entry)));
    // An entry without a job was left by a crash between the two; whoever wanted it adds it again.
    return read.filter(
      (deployment, place) => deployment?.payload.acceptedAt === entries[place]!.acceptedAt,
    ) as Deployment[];
  }

  async function write(id: string, adapter: StoredAdapter, { target, name }: Deploy): Promise<void> {
    const { tenant, expiresAt } = adapter;
    const commit = commitOf(adapter);
    const acceptedAt = now();
    const payload: DeployPayload = {
      adapterId: adapter.id,
      commit,
      target,
      ...(name !== undefined && { name }),
      servedName: servedName(tenant, name ?? adapter.id, commit),
      ...fitOf(adapter),
      expiresAt,
      acceptedAt,
    };
    const entry = { tenant, id, acceptedAt };
    await index.add(entry, { expiresAt: 0, priority: 0, notifyAt: 0 });
    // Nobody takes turns here.
    await index.leaveLine(entry);
    await queue.add(entry, payload);
    // Of two writers of one id the first one's payload stays; the other's entry leads nowhere.
    const stored = await queue.find(entry);
    if (stored && stored.payload.acceptedAt !== acceptedAt) await index.remove(entry);
  }

  async function room(tenant: string): Promise<readonly IndexEntry[]> {
    const entries = await index.newest(tenant, { limit: MAX_TENANT_DEPLOYMENTS });
    if (entries.length < MAX_TENANT_DEPLOYMENTS) return entries;
    throw servingErrors.tooMany(`${MAX_TENANT_DEPLOYMENTS} is the limit. Delete some.`);
  }

  const idOf = ({ id, payload }: GenerateRecord, adapter: string, { target, name }: Deploy) =>
    `dep_${sha256Json([id, payload.acceptedAt, adapter, target, name ?? '']).slice(0, 20)}`;

  const askedFor = (record: GenerateRecord) =>
    record.payload.adapterIds.flatMap((adapter) =>
      (record.payload.deploy ?? []).map((deploy) => ({ adapter, deploy, id: idOf(record, adapter, deploy) })),
    );

  async function kick(deployment: Deployment): Promise<void> {
    const { attempts: _, nextAt: __, ...known } = deployment.attempts;
    if (!(await queue.repeat(deployment, { ...known, attempts: 0 }))) await queue.promote(deployment);
  }

  async function takeBack(deployment: Deployment): Promise<void> {
    await index.dropNotice(entryOf(deployment));
    await kick(deployment);
  }

  return {
    async add(adapter, deploy) {
      const { tenant } = adapter;
      const same = (await readAll(await room(tenant))).find(
        ({ payload, wanted }) =>
          wanted &&
          payload.commit === commitOf(adapter) &&
          payload.target === deploy.target &&
          payload.name === deploy.name,
      );
      if (same) return same;
      const id = newId('dep');
      await write(id, adapter, deploy);
      return (await find({ tenant, id }))!;
    },
    async follow(record) {
      if (!record.payload.deploy) return true;
      if (record.status !== 'succeeded') return record.status === 'failed' || record.status === 'canceled';
      const { tenant } = record;
      for (const { adapter: adapterId, deploy, id } of askedFor(record)) {
        if (await queue.find({ tenant, id })) continue;
        const adapter = await store.of(tenant).find(adapterId);
        if (adapter) await write(id, adapter, deploy);
      }
      return true;
    },
    ofJob: (record) =>
      Promise.all(
        askedFor(record).map(async ({ adapter, deploy, id }) => ({
          ...deploy,
          adapter,
          deployment: await find({ tenant: record.tenant, id }),
        })),
      ),
    find: (which) => find(which),
    async list(tenant, { before, limit }) {
      const entries = await index.newest(tenant, { ...(before && { before }), limit });
      const last = entries.at(-1);
      return {
        deployments: await readAll(entries),
        ...(last && entries.length === limit && { nextBefore: last }),
      };
    },
    async all() {
      const entries = await index.due(FOREVER, MAX_DEPLOYMENTS);
      const key = ({ tenant, id, acceptedAt }: IndexEntry) => `${tenant}/${id}/${acceptedAt}`;
      const wanted = new Set((await index.noticesDue(FOREVER, MAX_DEPLOYMENTS)).map(key));
      return readAll(entries, (entry) => wanted.has(key(entry)));
    },
    isWanted: (deployment) => index.hasNotice(entryOf(deployment)),
    takeBack,
    async takeBackAdapter({ tenant, id }) {
      const entries = await index.newest(tenant, { limit: MAX_TENANT_DEPLOYMENTS });
      for (const deployment of await readAll(entries)) {
        if (deployment.wanted && deployment.payload.adapterId === id) await takeBack(deployment);
      }
    },
    kick,
    async forget(deployment) {
      await queue.remove(deployment);
      await index.remove(entryOf(deployment));
    },
    counts: () => queue.counts(),
    close: () => queue.close(),
  };
}

/** What a target's servers have to take of a stored adapter. */
export function fitOf({ info, files }: StoredAdapter): AdapterFit & { readonly rank: number } {
  const { baseModel: base, rank } = info as AdapterInfo;
  return { base, rank, gguf: files.some(({ name }) => name === ADAPTER_GGUF_FILE) };
}

/** A real fleet on object storage: API and worker processes, Redis, versitygw behind a proxy, a receiver of webhooks. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Adapter, Job } from '../../src/http/schemas.ts';
import { openS3Store } from '../../src/store/s3.ts';
import { changeSecretFile, withFirstSecret } from '../../src/webhooks/secret-file.ts';
import { type LoradropProcess, startLoradrop, until } from '../helpers/loradrop-process.ts';
import {
  objectStorageClient,
  objectStorageEnvironment,
  startVersitygw,
  TEST_BUCKET,
} from '../helpers/object-storage.ts';
import { startRedis } from '../helpers/redis.ts';
import { SECRET, startReceiver } from '../helpers/webhook-receiver.ts';
import { startFaultProxy } from '../store/fault-proxy.ts';
import { listBucket, openUploads } from './bucket.ts';

const PART_BYTES = 5 << 20;
const PROMPTS = ['Which gas do plants take in?', 'Why does ice float on water?'];

/** Starts everything but the processes, which a test starts and ends as it likes. Undefined where a server is missing. */
export async function startFleet(t: Test) {
  const server = await startVersitygw(t);
  const redis = await startRedis(t);
  if (!server || !redis) return undefined;
  const directory = await mkdtemp(join(tmpdir(), 'loradrop-fleet-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const proxy = await startFaultProxy(t, server.port);
  const receiver = await startReceiver();
  t.teardown(() => receiver.close());
  const secretsFile = join(directory, 'webhook-secrets.json');
  await changeSecretFile(secretsFile, (secrets) =>
    withFirstSecret(secrets, { owner: 'default', secret: SECRET, now: Date.now() }),
  );
  const prefix = `p-${randomBytes(6).toString('hex')}`;
  const url = `s3://${TEST_BUCKET}/${prefix}`;
  const environment = {
    ...objectStorageEnvironment(proxy.port),
    QUEUE_URL: redis.url,
    STORE_URL: url,
    S3_FORCE_PATH_STYLE: 'true',
    S3_PART_BYTES: String(PART_BYTES),
    WEBHOOK_ALLOW: '127.0.0.1',
    WEBHOOK_SECRETS_FILE: secretsFile,
    // The shortest there is, so that a killed worker's job runs again soon.
    JOB_LOCK_MS: '2000',
    DRAIN_SECONDS: '1',
  };
  const client = objectStorageClient(server.port);
  t.teardown(() => client.destroy());
  let started = 0;
  const start = (command: 'serve' | 'worker') =>
    startLoradrop(t, command, { ...environment, DATA_DIR: join(directory, `${command}-${++started}`) });

  const uploads = () => openUploads(client, prefix);

  return {
    server,
    proxy,
    receiver,
    start,
    uploads,
    /** Accepts a job whose weights go in two parts. */
    async submit(api: LoradropProcess, id: string, seed: number): Promise<Response> {
      return await fetch(`${api.url}/generate/${id}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          prompts: PROMPTS,
          seed,
          dtype: 'f32',
          presign: true,
          webhook: { url: receiver.url },
        }),
      });
    },
    job: async (api: LoradropProcess, id: string) =>
      (await (await fetch(`${api.url}/jobs/${id}`)).json()) as Job,
    /** Waits for the job and its webhook, and holds the adapter to what its record says. */
    async expectWhole(t: Test, api: LoradropProcess, id: string, what: string): Promise<void> {
      let job: Job | undefined;
      await until(async () => {
        job = (await (await fetch(`${api.url}/jobs/${id}`)).json()) as Job;
        return ['succeeded', 'failed', 'canceled'].includes(job.status);
      }, 120_000);
      t.match(job, { status: 'succeeded' }, job?.error ? `${what}: ${JSON.stringify(job.error)}` : what);
      const adapter = (await (await fetch(`${api.url}/adapters/${id}`)).json()) as Adapter;
      for (const { name, sha256, url: path } of adapter.files) {
        const answer = await fetch(api.url + path);
        const digest = createHash('sha256').update(Buffer.from(await answer.arrayBuffer()));
        t.equal(digest.digest('hex'), sha256, `${what}: ${name}`);
      }
      await until(async () => receiver.events(id).length > 0, 120_000);
      t.same([...new Set(receiver.events(id))], ['job.succeeded'], `${what}: its webhook`);
    },
    /** Every adapter that shows has its files and record, and after a sweep no upload is left open. */
    async expectNothingLeft(t: Test, what: string): Promise<void> {
      const byId = Map.groupBy(await listBucket(client, `${prefix}/adapters/`), ({ key }) =>
        key.slice(0, key.lastIndexOf('/')),
      );
      for (const [id, files] of byId) {
        const names = files.map(({ key }) => key.slice(id.length + 1)).sort();
        t.same(names, ['adapter.json', 'adapter_config.json', 'adapter_model.safetensors'], `${what}: ${id}`);
      }
      Object.assign(process.env, objectStorageEnvironment(server.port));
      const later = await openS3Store({ url, forcePathStyle: true, now: () => Date.now() + 2 * 86_400_000 });
      await later.expired(0, 1);
      await later.close();
      t.same(await uploads(), [], `${what}: no part is left`);
    },
  };
}

/** The value of a metric without labels. */
export async function metricOf({ url }: LoradropProcess, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

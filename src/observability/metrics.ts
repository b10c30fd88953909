/** Every metric the service exports, with help and unit, in one place. Names follow the Prometheus conventions. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What the engine shows of itself (a structural part of the inference room's status). */
type EngineView = {
  readonly state: string;
  readonly device: { readonly name: string; readonly provider: string };
  readonly restarts: number;
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
  readonly promptCacheBytes: number;
};
/** What the queue shows of itself. */
type QueueView = { readonly waiting: number; readonly active: number; readonly delayed: number };

/** What the API keys show of themselves. */
type KeysView = { readonly size: number; readonly damaged: boolean };

/** Where gauges read their values when they are scraped; absent where a process has no such part. */
export type MetricSources = {
  readonly engine?: () => EngineView;
  readonly queue?: () => Promise<QueueView>;
  readonly deliveryQueue?: () => Promise<QueueView>;
  readonly copyQueue?: () => Promise<QueueView>;
  readonly keys?: () => KeysView;
  /** Rejects while adapters cannot be stored. */
  readonly store?: () => Promise<void>;
  /** Adapters in memory that wait for the store. */
  readonly held?: () => number;
};

/** The process's metrics. */
export type Metrics = ReturnType<typeof createMetrics>;

const ENGINE_STATES = ['starting', 'ready', 'restarting', 'failed', 'closed'];
/** From a store hit (milliseconds) to a 7B decode on a CPU (minutes). */
const WORK_BUCKETS_S = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

/** Makes a registry of its own, so that two services in one process do not share numbers. */
export function createMetrics(sources: MetricSources = {}) {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const httpSeconds = new Histogram({
    name: 'loradrop_http_request_duration_seconds',
    help: 'Time from the request’s head to the end of its response, by route pattern.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
    registers,
  });
  const accepted = new Counter({
    name: 'loradrop_jobs_accepted_total',
    help: 'Generation jobs accepted by this process.',
    labelNames: ['model'],
    registers,
  });
  const finished = new Counter({
    name: 'loradrop_jobs_finished_total',
    help: 'Runs of generation jobs that ended in this worker; code is empty on success.',
    labelNames: ['model', 'outcome', 'code'],
    registers,
  });
  const stageSeconds = new Histogram({
    name: 'loradrop_job_stage_seconds',
    help: 'Time a finished generation job spent in a stage, summed over its adapters.',
    labelNames: ['model', 'stage', 'device'],
    buckets: WORK_BUCKETS_S,
    registers,
  });
  const adapters = new Counter({
    name: 'loradrop_adapters_total',
    help: 'Adapters published; source tells a decode from an equal adapter found in the store.',
    labelNames: ['model', 'source'],
    registers,
  });
  const adapterBytes = new Counter({
    name: 'loradrop_adapter_bytes_total',
    help: 'Bytes of published adapter weights.',
    labelNames: ['model'],
    registers,
  });
  const prompts = new Counter({
    name: 'loradrop_prompts_total',
    help: 'Distinct prompts turned into embeddings; source tells the encoder from the cache.',
    labelNames: ['model', 'source'],
    registers,
  });

  const deliveries = new Counter({
    name: 'loradrop_webhook_deliveries_total',
    help: 'Attempts at webhook deliveries that were made here, by outcome; by tells whose webhook: of the request or the operator.',
    labelNames: ['outcome', 'by'],
    registers,
  });
  const deliverySeconds = new Histogram({
    name: 'loradrop_webhook_attempt_seconds',
    help: 'Time of an attempt at a webhook delivery, by what the receiver answered: 2xx, 4xx …, none.',
    labelNames: ['answer'],
    buckets: [0.005, 0.02, 0.1, 0.5, 1, 5, 15],
    registers,
  });

  const copies = new Counter({
    name: 'loradrop_destination_copies_total',
    help: 'Attempts at copies to destinations that were made here, by outcome; code is empty on success.',
    labelNames: ['outcome', 'code'],
    registers,
  });

  const { engine, queue, deliveryQueue, copyQueue, keys, store, held } = sources;
  if (engine) {
    new Gauge({
      name: 'loradrop_engine_state',
      help: 'The inference engine’s state: 1 for the one that holds.',
      labelNames: ['state', 'device', 'provider'],
      registers,
      collect() {
        const { state, device } = engine();
        for (const each of ENGINE_STATES)
          this.set({ state: each, device: device.name, provider: device.provider }, each === state ? 1 : 0);
      },
    });
    new Gauge({
      name: 'loradrop_engine_restarts',
      help: 'Times the inference process was replaced since start.',
      registers,
      collect() {
        this.set(engine().restarts);
      },
    });
    new Gauge({
      name: 'loradrop_engine_resident_bytes',
      help: 'Resident memory of the inference process, as last reported.',
      registers,
      collect() {
        this.set(engine().residentBytes);
      },
    });
    new Gauge({
      name: 'loradrop_engine_peak_resident_bytes',
      help: 'Most resident memory of the inference process since it started, as last reported.',
      registers,
      collect() {
        this.set(engine().peakResidentBytes);
      },
    });
    new Gauge({
      name: 'loradrop_prompt_cache_bytes',
      help: 'Prompt embeddings kept in the inference process.',
      registers,
      collect() {
        this.set(engine().promptCacheBytes);
      },
    });
  }
  if (queue) {
    new Gauge({
      name: 'loradrop_queue_jobs',
      help: 'Generation jobs in the queue, by state. Scale workers on waiting + active.',
      labelNames: ['state'],
      registers,
      async collect() {
        // A queue that is down must not take the other metrics with it: its gauge is absent meanwhile.
        const counts = await queue().catch(() => undefined);
        this.reset();
        for (const [state, count] of Object.entries(counts ?? {})) this.set({ state }, count);
      },
    });
  }

  if (deliveryQueue) {
    new Gauge({
      name: 'loradrop_webhook_queue',
      help: 'Webhook deliveries in the queue, by state; delayed ones wait for their next attempt.',
      labelNames: ['state'],
      registers,
      async collect() {
        const counts = await deliveryQueue().catch(() => undefined);
        this.reset();
        for (const [state, count] of Object.entries(counts ?? {})) this.set({ state }, count);
      },
    });
  }
  if (copyQueue) {
    new Gauge({
      name: 'loradrop_destination_queue',
      help: 'Copies to destinations in the queue, by state; delayed ones wait for their next attempt.',
      labelNames: ['state'],
      registers,
      async collect() {
        const counts = await copyQueue().catch(() => undefined);
        this.reset();
        for (const [state, count] of Object.entries(counts ?? {})) this.set({ state }, count);
      },
    });
  }
  if (store) {
    new Gauge({
      name: 'loradrop_store_ready',
      help: '1 while adapters can be stored; 0 while the store is full or away, and jobs wait for it.',
      registers,
      async collect() {
        this.set(
          await store().then(
            () => 1,
            () => 0,
          ),
        );
      },
    });
  }
  if (held) {
    new Gauge({
      name: 'loradrop_held_adapters',
      help: 'Decoded adapters that this worker keeps in memory until the store is back.',
      registers,
      collect() {
        this.set(held());
      },
    });
  }
  if (keys) {
    new Gauge({
      name: 'loradrop_api_keys',
      help: 'API keys that hold, expired ones included.',
      registers,
      collect() {
        this.set(keys().size);
      },
    });
    new Gauge({
      name: 'loradrop_api_keys_file_damaged',
      help: '1 while the file of API keys cannot be used and the last good keys hold.',
      registers,
      collect() {
        this.set(keys().damaged ? 1 : 0);
      },
    });
  }

  return {
    /** Notes a finished HTTP request; `route` is the pattern, never the path, so that ids do not become labels. */
    observeRequest(request: { method: string; route: string; status: number; seconds: number }) {
      const { seconds, ...labels } = request;
      httpSeconds.observe(labels, seconds);
    },
    accepted,
    finished,
    stageSeconds,
    adapters,
    adapterBytes,
    prompts,
    deliveries,
    deliverySeconds,
    copies,
    /** Content type of {@link render}. */
    contentType: registry.contentType,
    /** The exposition text. */
    render: () => registry.metrics(),
  };
}

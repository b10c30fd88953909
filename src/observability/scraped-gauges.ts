/** Metrics whose values are read from the parts of the process at each scrape. */
import { Counter, Gauge, type Registry } from 'prom-client';

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
  readonly deployQueue?: () => Promise<QueueView>;
  readonly validationQueue?: () => Promise<QueueView>;
  readonly keys?: () => KeysView;
  /** Rejects while adapters cannot be stored. */
  readonly store?: () => Promise<void>;
  /** Adapters in memory that wait for the store. */
  readonly held?: () => number;
};

type Registers = Registry[];

const ENGINE_STATES = ['starting', 'ready', 'restarting', 'failed', 'closed'];

/** Registers the metrics of the parts that the process has. */
export function registerScrapedGauges(sources: MetricSources, registers: Registers): void {
  const { engine, queue, deliveryQueue, copyQueue, deployQueue, validationQueue, keys, store, held } =
    sources;
  if (engine) registerEngine(engine, registers);
  if (queue) registerQueue(queue, registers);
  if (deliveryQueue) {
    registerStates('loradrop_webhook_queue', 'Webhook deliveries', deliveryQueue, registers);
  }
  if (copyQueue) {
    registerStates('loradrop_destination_queue', 'Copies to destinations', copyQueue, registers);
  }
  if (deployQueue) {
    registerStates('loradrop_deployment_queue', 'Deployments', deployQueue, registers);
  }
  if (validationQueue) {
    registerStates('loradrop_validation_queue', 'Validations of adapters', validationQueue, registers);
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
}

/** What a queue beside that of the jobs holds. */
function registerStates(
  name: string,
  what: string,
  queue: () => Promise<QueueView>,
  registers: Registers,
): void {
  new Gauge({
    name,
    help: `${what} in the queue, by state; delayed ones wait for their next attempt. Shared by all processes: take the maximum, not the sum.`,
    labelNames: ['state'],
    registers,
    async collect() {
      const counts = await queue().catch(() => undefined);
      this.reset();
      for (const [state, count] of Object.entries(counts ?? {})) this.set({ state }, count);
    },
  });
}

function registerQueue(queue: () => Promise<QueueView>, registers: Registers): void {
  let asked: Promise<QueueView | undefined> | undefined;
  // A queue that is down must not take the other metrics with it. Both gauges of a scrape ask once.
  const counts = () =>
    (asked ??= queue()
      .catch(() => undefined)
      .finally(() => {
        asked = undefined;
      }));
  new Gauge({
    name: 'loradrop_queue_ready',
    help: '1 when the queue answered this scrape, 0 when it did not.',
    registers,
    async collect() {
      this.set((await counts()) ? 1 : 0);
    },
  });
  new Gauge({
    name: 'loradrop_queue_jobs',
    help: 'Generation jobs in the queue, by state; delayed ones wait for their tenant, for the store or to be tried again. Scale workers on waiting + active. Shared by all processes: take the maximum, not the sum.',
    labelNames: ['state'],
    registers,
    async collect() {
      const view = await counts();
      this.reset();
      for (const [state, count] of Object.entries(view ?? {})) this.set({ state }, count);
    },
  });
}

function registerEngine(engine: () => EngineView, registers: Registers): void {
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
  new Counter({
    name: 'loradrop_engine_restarts_total',
    help: 'Times the inference process was replaced since start.',
    registers,
    collect() {
      this.reset();
      this.inc(engine().restarts);
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

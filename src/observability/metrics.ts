/**
 * Every metric the service exports, with help and unit; those that are read from parts at each scrape are in
 * scraped-gauges.ts, those of validations in validation-metrics.ts. Names follow the Prometheus conventions. docs/operations.md says which question each answers.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type MetricSources, registerScrapedGauges } from './scraped-gauges.ts';
import { createTenantLabels } from './tenant-labels.ts';
import { validationMetrics } from './validation-metrics.ts';

/** Options of {@link createMetrics}. */
export type MetricsOptions = {
  /** Tenants that get time series of their own; all others share one. */
  readonly namedTenants?: number;
  /** What is running, as labels: version, role … */
  readonly build?: Readonly<Record<string, string>>;
};

/** The process's metrics. */
export type Metrics = ReturnType<typeof createMetrics>;

/** How a job ended for good. */
export type JobOutcome = 'succeeded' | 'failed' | 'canceled';

/** From a cached step (10 ms) to a 7B decode on a CPU or a long queue (10 min). */
const WORK_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
/** From a receiver that answers at once to one that was away for most of the day for which deliveries are tried. */
const DELAY_BUCKETS_S = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200];
const NAMED_TENANTS = 50;
const TOO_MANY_REQUESTS = 429;

/** Makes a registry of its own, so that two services in one process do not share numbers. */
export function createMetrics(sources: MetricSources = {}, options: MetricsOptions = {}) {
  const { namedTenants = NAMED_TENANTS, build } = options;
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  if (build) {
    new Gauge({
      name: 'loradrop_build_info',
      help: 'Always 1; the labels tell what is running.',
      labelNames: Object.keys(build),
      registers,
    }).set(build, 1);
  }
  const labelOf = createTenantLabels(namedTenants);
  registerScrapedGauges(sources, registers);
  return {
    /** Adds gauges of parts that were opened after the metrics. */
    addSources: (more: MetricSources) => registerScrapedGauges(more, registers),
    ...requestMetrics(registers, labelOf),
    ...jobMetrics(registers, labelOf),
    ...adapterMetrics(registers, labelOf),
    ...deliveryMetrics(registers),
    ...chatMetrics(registers),
    ...validationMetrics(registers),
    /** Content type of {@link render}. */
    contentType: registry.contentType,
    /** The exposition text. */
    render: () => registry.metrics(),
  };
}

type Registers = Registry[];
type LabelOf = (tenant: string) => string;

/** What the HTTP edge notes. */
function requestMetrics(registers: Registers, labelOf: LabelOf) {
  const seconds = new Histogram({
    name: 'loradrop_http_request_duration_seconds',
    help: 'Time from the request’s head to the end of its response, by route pattern.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
    registers,
  });
  const problems = new Counter({
    name: 'loradrop_http_problems_total',
    help: 'Requests that were answered with a problem, by its code; rate limits and quotas are those of status 429.',
    labelNames: ['code', 'status'],
    registers,
  });
  // A counter that appears with its first event shows no rise to `increase`, so those that alerts look at begin at zero.
  for (const code of ['rate-limit-exceeded', 'queue-full'])
    problems.inc({ code, status: TOO_MANY_REQUESTS }, 0);
  const refused = new Counter({
    name: 'loradrop_tenant_requests_refused_total',
    help: 'Requests of a tenant that were answered with 429, by the problem’s code.',
    labelNames: ['tenant', 'code'],
    registers,
  });
  return {
    /**
     * Notes a finished HTTP request; `route` is the pattern, never the path, so that ids do not become labels. `problem` is
     * the code of the problem that was the answer.
     */
    observeRequest(request: {
      method: string;
      route: string;
      status: number;
      seconds: number;
      problem?: string | undefined;
      tenant?: string | undefined;
    }) {
      const { method, route, status, problem: code, tenant } = request;
      seconds.observe({ method, route, status }, request.seconds);
      if (code === undefined) return;
      problems.inc({ code, status });
      if (status === TOO_MANY_REQUESTS && tenant !== undefined)
        refused.inc({ tenant: labelOf(tenant), code });
    },
  };
}

/** What happens to generation jobs. */
function jobMetrics(registers: Registers, labelOf: LabelOf) {
  const accepted = new Counter({
    name: 'loradrop_jobs_accepted_total',
    help: 'Generation jobs accepted by this process.',
    labelNames: ['model'],
    registers,
  });
  const waitSeconds = new Histogram({
    name: 'loradrop_job_wait_seconds',
    help: 'Time from a job’s acceptance to its first start; held tells that it waited for its tenant’s bound on running jobs too.',
    labelNames: ['model', 'held'],
    buckets: WORK_BUCKETS_S,
    registers,
  });
  const seconds = new Histogram({
    name: 'loradrop_job_seconds',
    help: 'Time from a job’s acceptance to its end.',
    labelNames: ['model', 'outcome'],
    buckets: WORK_BUCKETS_S,
    registers,
  });
  const finished = new Counter({
    name: 'loradrop_jobs_finished_total',
    help: 'Generation jobs that ended for good in this worker; code is the problem’s code, empty on success.',
    labelNames: ['model', 'outcome', 'code'],
    registers,
  });
  const repeated = new Counter({
    name: 'loradrop_job_runs_repeated_total',
    help: 'Runs after which the job runs again: retried after a failure (code), handed-back by a worker that stops, lost to another worker, held for its tenant or for the store.',
    labelNames: ['model', 'outcome', 'code'],
    registers,
  });
  const stalled = new Counter({
    name: 'loradrop_jobs_stalled_total',
    help: 'Jobs that this process found without their worker, by their queue; they wait again or, after too many times, fail.',
    labelNames: ['queue'],
    registers,
  });
  stalled.inc({ queue: 'generate' }, 0);
  const tenantJobs = new Counter({
    name: 'loradrop_tenant_jobs_total',
    help: 'Generation jobs of a tenant that ended for good in this worker.',
    labelNames: ['tenant', 'outcome'],
    registers,
  });
  const batchRequests = new Histogram({
    name: 'loradrop_batch_requests',
    help: 'Adapters that were computed together in one micro-batch.',
    labelNames: ['model'],
    buckets: [1, 2, 3, 4, 6, 8, 12, 16, 32, 64],
    registers,
  });
  return {
    accepted,
    repeated,
    stalled,
    batchRequests,
    /** Notes that the first run of a job begins. */
    jobStarted({ model, held, waitMs }: { model: string; held: boolean; waitMs: number }) {
      waitSeconds.observe({ model, held: String(held) }, waitMs / 1000);
    },
    /** Notes that a job ended for good, `ms` after its acceptance. */
    jobFinished(job: { tenant: string; model: string; outcome: JobOutcome; code: string; ms: number }) {
      const { tenant, model, outcome, code, ms } = job;
      finished.inc({ model, outcome, code });
      seconds.observe({ model, outcome }, ms / 1000);
      tenantJobs.inc({ tenant: labelOf(tenant), outcome });
    },
  };
}

/** What is spent on adapters, and where they go. */
function adapterMetrics(registers: Registers, labelOf: LabelOf) {
  const stageSeconds = new Histogram({
    name: 'loradrop_job_stage_seconds',
    help: 'Time a stage took: loading once a run, batching, embedding, decoding and writing once an adapter.',
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
  const storeSeconds = new Histogram({
    name: 'loradrop_store_operation_seconds',
    help: 'Time of a call to the store; outcome is ok or the code of its failure.',
    labelNames: ['operation', 'outcome'],
    buckets: WORK_BUCKETS_S,
    registers,
  });
  const tenantAdapters = new Counter({
    name: 'loradrop_tenant_adapters_total',
    help: 'Adapters published for a tenant; source tells a decode from an equal adapter found in the store.',
    labelNames: ['tenant', 'source'],
    registers,
  });
  const tenantBytes = new Counter({
    name: 'loradrop_tenant_adapter_bytes_total',
    help: 'Bytes of adapter weights stored for a tenant.',
    labelNames: ['tenant'],
    registers,
  });
  const tenantEngine = new Counter({
    name: 'loradrop_tenant_engine_seconds_total',
    help: 'Time the inference process spent on a tenant’s adapters, embedding and decoding.',
    labelNames: ['tenant'],
    registers,
  });
  return {
    stageSeconds,
    prompts,
    /** Notes that a tenant has one more adapter: decoded, or copied from an equal one in its store. */
    adapterPublished(adapter: {
      tenant: string;
      model: string;
      source: 'decoder' | 'store' | 'arithmetic';
      bytes: number;
      engineMs: number;
    }) {
      const { model, source, bytes, engineMs } = adapter;
      const tenant = labelOf(adapter.tenant);
      adapters.inc({ model, source });
      tenantAdapters.inc({ tenant, source });
      adapterBytes.inc({ model }, bytes);
      tenantBytes.inc({ tenant }, bytes);
      tenantEngine.inc({ tenant }, engineMs / 1000);
    },
    /** Notes a call to the store. */
    storeCalled({ operation, outcome, ms }: { operation: string; outcome: string; ms: number }) {
      storeSeconds.observe({ operation, outcome }, ms / 1000);
    },
  };
}

/** What comes of webhooks. */
function deliveryMetrics(registers: Registers) {
  const deliveries = new Counter({
    name: 'loradrop_webhook_deliveries_total',
    help: 'Attempts at webhook deliveries that were made here, by outcome; by tells whose webhook: of the request or the operator.',
    labelNames: ['outcome', 'by'],
    registers,
  });
  for (const by of ['request', 'operator']) deliveries.inc({ outcome: 'gave-up', by }, 0);
  return {
    deliveries,
    deliverySeconds: new Histogram({
      name: 'loradrop_webhook_attempt_seconds',
      help: 'Time of an attempt at a webhook delivery, by what the receiver answered: 2xx, 4xx …, none.',
      labelNames: ['answer'],
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 5, 15],
      registers,
    }),
    deliveryDelaySeconds: new Histogram({
      name: 'loradrop_webhook_delay_seconds',
      help: 'Time from a webhook message’s making to its delivery, failed attempts and pauses included.',
      buckets: DELAY_BUCKETS_S,
      registers,
    }),
    deployments: new Counter({
      name: 'loradrop_deployment_changes_total',
      help: 'Changes of an adapter at a replica of a deploy target that were seen here, by what it is now.',
      labelNames: ['target', 'outcome'],
      registers,
    }),
    deploymentReplicas: new Gauge({
      name: 'loradrop_deployment_replicas',
      help: 'Replicas of a deploy target that are up or down, and adapters that replicas lack, when they were last looked at.',
      labelNames: ['target', 'state'],
      registers,
    }),
    copies: new Counter({
      name: 'loradrop_destination_copies_total',
      help: 'Attempts at copies to destinations that were made here, by outcome; code is empty on success.',
      labelNames: ['outcome', 'code'],
      registers,
    }),
  };
}

/** How a question to a base model ended, as {@link createMetrics} is told. */
type ChatEnd =
  | { readonly outcome: 'answered'; readonly facts: { promptTokens: number; completionTokens: number } }
  | { readonly outcome: 'left' }
  | { readonly outcome: 'refused' | 'failed'; readonly code: string };

/** What is asked of base models. */
function chatMetrics(registers: Registers) {
  const questions = new Counter({
    name: 'loradrop_chat_questions_total',
    help: 'Questions to base models that ended here: answered, left by their client, refused for want of a place, or failed; code is the problem’s, else empty.',
    labelNames: ['outcome', 'code'],
    registers,
  });
  questions.inc({ outcome: 'answered', code: '' }, 0);
  for (const code of ['chat-busy', 'chat-tenant-busy']) questions.inc({ outcome: 'refused', code }, 0);
  const running = new Gauge({
    name: 'loradrop_chat_running',
    help: 'Questions that base models are answering now.',
    registers,
  });
  const firstPiece = new Histogram({
    name: 'loradrop_chat_first_token_seconds',
    help: 'Time from a question’s acceptance to the first text of its answer; loading the base, where it was not loaded, included.',
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers,
  });
  const tokens = new Counter({
    name: 'loradrop_chat_tokens_total',
    help: 'Tokens of questions that were answered to the end, and of their answers.',
    labelNames: ['of'],
    registers,
  });
  for (const part of ['question', 'answer']) tokens.inc({ of: part }, 0);
  return {
    /** Notes that a question has taken a place. */
    chatStarted: () => running.inc(),
    /** Notes that an answer begins, `ms` after its question was accepted. */
    chatFirstPiece: (ms: number) => firstPiece.observe(ms / 1000),
    /** Notes how a question ended; a refused one never started. */
    chatEnded(end: ChatEnd) {
      questions.inc({ outcome: end.outcome, code: 'code' in end ? end.code : '' });
      if (end.outcome !== 'refused') running.dec();
      if (end.outcome !== 'answered') return;
      tokens.inc({ of: 'question' }, end.facts.promptTokens);
      tokens.inc({ of: 'answer' }, end.facts.completionTokens);
    },
  };
}

/** The handler of `webhook` jobs: one attempt at a delivery, and when the next one is due. */
import type { TenantId } from '../base/ids.ts';
import type { Logger } from '../observability/logger.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { Span, SpanAttributes, Tracing } from '../observability/tracing.ts';
import type { AttemptEnd, ReceiverGate } from '../webhooks/receiver-gate.ts';
import { retryWaitMs } from '../webhooks/retry.ts';
import { OPERATOR } from '../webhooks/secret-file.ts';
import type { SecretRing } from '../webhooks/secret-ring.ts';
import type { SendOutcome, WebhookClient } from '../webhooks/send.ts';
import { originOf } from '../webhooks/shown-url.ts';
import { signatureHeaders } from '../webhooks/sign.ts';
import { type Deliveries, type DeliveryAttempts, type DeliveryResult, noAttempts } from './deliveries.ts';
import { jobFields } from './observe-runs.ts';
import { PutOff } from './run-job.ts';
import type { JobContext, JobHandler } from './workers.ts';

/** What deliveries work with. */
export type DeliverServices = {
  readonly client: Pick<WebhookClient, 'send'>;
  readonly secrets: Pick<SecretRing, 'of'>;
  readonly gate: ReceiverGate;
  readonly deliveries: Pick<Deliveries, 'resume'>;
  readonly metrics: Pick<Metrics, 'deliveries' | 'deliverySeconds' | 'deliveryDelaySeconds'>;
  readonly tracing?: Tracing | undefined;
  readonly logger: Logger;
  readonly giveUpMs: number;
  /** `Loradrop/0.1.0`. */
  readonly userAgent: string;
  readonly now?: () => number;
  readonly random?: () => number;
};

/** Receivers known to be gone; beyond this the oldest is asked once more. */
const MAX_GONE = 10_000;
/** What a receiver answers that has more to do than it can. */
const isOverload = (status: number) => status === 429 || status >= 500;
const GONE = 410;
/** Times a delivery waits for a place of a receiver that answers quickly before it is put off. */
const MAX_TURNS = 5;

/** Makes the handler. It never rejects for what a receiver does; that ends in a result, or puts the job off. */
export function createDeliverHandler(services: DeliverServices): JobHandler<'webhook'> {
  const { client, secrets, gate, deliveries, metrics, tracing, logger, giveUpMs } = services;
  const { now = Date.now, random = Math.random } = services;
  /** When a receiver said that it is gone, by tenant and address. */
  const gone = new Map<string, number>();
  const startedAt = now();

  /** A request that names a receiver after it was gone means it; the operator's setting is read at the start. */
  function isGone({ tenant, payload }: JobContext<'webhook'>): boolean {
    const since = gone.get(`${tenant} ${payload.url}`);
    return since !== undefined && (payload.operator ? startedAt : payload.jobAcceptedAt) <= since;
  }

  function noteGone({ tenant, payload }: JobContext<'webhook'>): void {
    const [oldest] = gone.keys();
    if (gone.size >= MAX_GONE && oldest !== undefined) gone.delete(oldest);
    gone.set(`${tenant} ${payload.url}`, now());
  }

  async function attempt(
    context: JobContext<'webhook'>,
    span: Span | undefined,
  ): Promise<SendOutcome | 'secret-missing'> {
    const { payload, tenant, signal } = context;
    const keys = secrets.of(payload.operator ? OPERATOR : tenant);
    if (keys.length === 0) return 'secret-missing';
    const { messageId: id, body, url } = payload;
    return client.send({
      url,
      body,
      signal,
      headers: {
        'content-type': 'application/json',
        'user-agent': services.userAgent,
        ...signatureHeaders({ id, sentAt: now(), body }, keys),
        ...span?.context,
      },
    });
  }

  return async (context) => {
    const { payload, tenant, id } = context;
    const before = (context.note as DeliveryAttempts | undefined) ?? noAttempts(payload, giveUpMs);
    const receiver = `${tenant} ${originOf(payload.url)}`;
    const log = logger.child({
      ...jobFields({ ...context, id: payload.jobId }),
      event: payload.event,
      receiver: originOf(payload.url),
    });
    const by = payload.operator ? 'operator' : 'request';
    const end = (outcome: DeliveryResult['outcome'], attempts: DeliveryAttempts): DeliveryResult => {
      const { nextAt: _, byHand: __, ...rest } = attempts;
      metrics.deliveries.inc({ outcome, by });
      if (outcome === 'delivered') metrics.deliveryDelaySeconds.observe((now() - payload.createdAt) / 1000);
      const level = outcome === 'delivered' ? 'info' : 'warn';
      log[level](
        { outcome, attempts: rest.attempts, status: rest.status, failure: rest.failure },
        'webhook ended',
      );
      return { ...rest, outcome };
    };

    if (!before.byHand && isGone(context)) return end('disabled', { ...before, status: GONE });
    for (let turns = 0; turns < MAX_TURNS && gate.soon(receiver); turns++) {
      await gate.freed(receiver);
      context.signal.throwIfAborted();
    }
    const place = gate.enter(receiver, `${tenant}/${id}`);
    if (!place.open) {
      if (now() > before.giveUpAt && gate.dead(receiver)) {
        return end('gave-up', { ...before, failure: before.failure ?? 'receiver-down' });
      }
      throw new PutOff(place.retryAt);
    }
    const sentAt = now();
    const span = tracing?.start(`POST webhook ${payload.event}`, {
      parent: context.origin?.trace,
      kind: 'client',
      attributes: spanAttributes(context, before.attempts),
    });
    let outcome: SendOutcome | 'secret-missing' | undefined;
    try {
      outcome = await attempt(context, span);
    } finally {
      endSpan(span, outcome);
      const called = place.leave(endOf(outcome));
      void deliveries
        .resume(called.map(toTenantId))
        .catch((error) => log.warn({ err: error }, 'deliveries not resumed'));
    }
    const { status: _, failure: __, ...known } = before;
    const attempts: DeliveryAttempts = {
      ...known,
      attempts: before.attempts + 1,
      lastAt: sentAt,
      ...(outcome === 'secret-missing' ? { failure: outcome } : withoutRetryAfter(outcome)),
    };
    const status = attempts.status ?? 0;
    metrics.deliverySeconds.observe(
      { answer: status === 0 ? 'none' : `${Math.floor(status / 100)}xx` },
      (now() - sentAt) / 1000,
    );
    if (status >= 200 && status < 300) {
      gone.delete(`${tenant} ${payload.url}`);
      return end('delivered', attempts);
    }
    if (status === GONE) {
      noteGone(context);
      return end('disabled', attempts);
    }
    const retryAfterMs =
      typeof outcome === 'object' && 'status' in outcome ? outcome.retryAfterMs : undefined;
    const waitMs = retryWaitMs(attempts.attempts, {
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      random,
    });
    if (now() + waitMs > before.giveUpAt) return end('gave-up', attempts);
    const nextAt = now() + waitMs;
    metrics.deliveries.inc({ outcome: 'retried', by });
    log.debug({ status, failure: attempts.failure, nextAt }, 'webhook will be tried again');
    throw new PutOff(nextAt, { ...attempts, nextAt });
  };
}

/** What a trace shows of an attempt: where it goes, without the path or the query, which may hold secrets. */
function spanAttributes({ payload, tenant }: JobContext<'webhook'>, attemptsBefore: number): SpanAttributes {
  const { protocol, hostname, port } = new URL(payload.url);
  return {
    'http.request.method': 'POST',
    'http.request.resend_count': attemptsBefore,
    'url.scheme': protocol.slice(0, -1),
    'server.address': hostname,
    'server.port': Number(port) || (protocol === 'https:' ? 443 : 80),
    'loradrop.tenant': tenant,
    'loradrop.job.id': payload.jobId,
    'loradrop.webhook.event': payload.event,
  };
}

function endSpan(span: Span | undefined, outcome: SendOutcome | 'secret-missing' | undefined): void {
  if (!span) return;
  if (typeof outcome === 'object' && 'status' in outcome) {
    span.set({ 'http.response.status_code': outcome.status });
    if (outcome.status >= 400) span.fail(String(outcome.status));
  } else span.fail(typeof outcome === 'object' ? outcome.failure : (outcome ?? 'aborted'));
  span.end();
}

/** What an attempt says of the receiver. */
function endOf(outcome: SendOutcome | 'secret-missing' | undefined): AttemptEnd {
  if (outcome === undefined || outcome === 'secret-missing') return { kind: 'aborted' };
  if ('failure' in outcome) return { kind: 'failed' };
  const { status, retryAfterMs } = outcome;
  if (!isOverload(status)) return { kind: 'answered' };
  return { kind: 'failed', ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

function withoutRetryAfter(outcome: SendOutcome) {
  return 'status' in outcome ? { status: outcome.status } : outcome;
}

function toTenantId(name: string): TenantId {
  const slash = name.indexOf('/');
  return { tenant: name.slice(0, slash), id: name.slice(slash + 1) };
}

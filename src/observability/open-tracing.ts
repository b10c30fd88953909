/**
 * Traces with the OpenTelemetry SDK, sent by OTLP over HTTP. Only `import()` loads this file, so that a service without a
 * collector pays nothing for it. Contexts are handed on by hand, from span to span and as text in jobs and headers: there is
 * no context manager, and nothing is patched.
 */
import {
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  defaultResource,
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Logger } from './logger.ts';
import { createOutageLog } from './outage-log.ts';
import { errorTypeOf, type Span, type SpanOptions, type TraceContext, type Tracing } from './tracing.ts';

/** Names of samplers as `OTEL_TRACES_SAMPLER` has them. */
export type SamplerName =
  | 'always_on'
  | 'always_off'
  | 'traceidratio'
  | 'parentbased_always_on'
  | 'parentbased_always_off'
  | 'parentbased_traceidratio';

/** Options of {@link openTracing}. */
export type TracingOptions = {
  /** Where spans are posted: a whole URL, `http://collector:4318/v1/traces`. */
  readonly url: string;
  readonly serviceName: string;
  /** The process as the resource tells it, beside what `OTEL_RESOURCE_ATTRIBUTES` says. */
  readonly resource: Readonly<Record<string, string>>;
  readonly sampler: SamplerName;
  /** Share of traces that the samplers by ratio take, 0…1. */
  readonly samplerRatio: number;
  readonly logger: Logger;
  readonly version: string;
};

/** Longest that the end of the process waits for a collector. */
const CLOSE_TIMEOUT_MS = 3_000;
/** Spans are sent this long after they have ended: soon enough for someone who watches, few enough requests. */
const SEND_PAUSE_MS = 2_000;

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

const propagator = new W3CTraceContextPropagator();
const setter = {
  set(carrier: Record<string, string>, name: string, value: string) {
    carrier[name] = value;
  },
};
const getter = {
  get: (carrier: Readonly<Record<string, string>>, name: string) => carrier[name],
  keys: (carrier: Readonly<Record<string, string>>) => Object.keys(carrier),
};

/** Starts to send traces. A collector that is away costs spans and log lines, never requests or jobs. */
export function openTracing(options: TracingOptions): Tracing {
  const { logger, url, serviceName, version } = options;
  const exporter = watched(new OTLPTraceExporter({ url }), logger);
  const resource = defaultResource()
    .merge(detectResources({ detectors: [resourceAttributesEnvDetector] }))
    .merge(
      resourceFromAttributes({
        ...options.resource,
        'service.name': serviceName,
        'service.version': version,
      }),
    );
  const provider = new TracerProvider({
    resource,
    sampler: samplerOf(options),
    spanProcessors: [new BatchSpanProcessor({ exporter, scheduledDelayMillis: SEND_PAUSE_MS })],
  });
  const tracer = provider.getTracer('loradrop', version);
  return {
    start: (name, { parent, ...more } = {}) => startSpan(tracer, name, parent && spanContextOf(parent), more),
    async close() {
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
      });
      // What cannot be sent has been logged by then.
      await Promise.race([provider.shutdown().catch(() => undefined), patience]);
      clearTimeout(timer);
    },
  };
}

function startSpan(
  tracer: Tracer,
  name: string,
  parent: SpanContext | undefined,
  { kind = 'internal', attributes, links = [], startedAt }: SpanOptions,
): Span {
  const span = tracer.startSpan(
    name,
    {
      kind: KINDS[kind],
      ...(attributes && { attributes }),
      links: links.flatMap((link) => {
        const context = spanContextOf(link);
        return context ? [{ context }] : [];
      }),
      ...(startedAt !== undefined && { startTime: startedAt }),
    },
    parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT,
  );
  const own = span.spanContext();
  return {
    context: textOf(own),
    child: (childName, options = {}) => startSpan(tracer, childName, own, options),
    set: (more) => void span.setAttributes(more),
    fail(error) {
      const type = errorTypeOf(error);
      span.setAttribute('error.type', type);
      // The code alone: messages of foreign errors may hold what they were given.
      span.setStatus({ code: SpanStatusCode.ERROR, message: type });
    },
    end: (at) => span.end(at),
  };
}

function textOf(context: SpanContext): TraceContext {
  const carrier: Record<string, string> = {};
  propagator.inject(trace.setSpanContext(ROOT_CONTEXT, context), carrier, setter);
  return carrier as TraceContext;
}

/** Undefined for what is no W3C trace context: clients may send anything. */
function spanContextOf(text: TraceContext): SpanContext | undefined {
  return trace.getSpanContext(propagator.extract(ROOT_CONTEXT, { ...text }, getter));
}

function samplerOf({ sampler, samplerRatio }: Pick<TracingOptions, 'sampler' | 'samplerRatio'>): Sampler {
  const [name, parentBased] = sampler.startsWith('parentbased_')
    ? [sampler.slice('parentbased_'.length), true]
    : [sampler, false];
  const root =
    name === 'always_off'
      ? new AlwaysOffSampler()
      : name === 'traceidratio'
        ? new TraceIdRatioBasedSampler(samplerRatio)
        : new AlwaysOnSampler();
  return parentBased ? new ParentBasedSampler({ root }) : root;
}

/** The exporter with its failures in our log: one line when the collector goes, one when it is back. */
function watched(exporter: SpanExporter, logger: Logger): SpanExporter {
  const outages = createOutageLog({ logger, what: 'The trace collector' });
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        if (result.code === ExportResultCode.SUCCESS) outages.reached();
        else outages.failed(result.error);
        done(result);
      });
    },
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}

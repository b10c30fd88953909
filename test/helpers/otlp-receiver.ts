/**
 * A stand-in for a trace collector: takes OTLP over HTTP as protobuf and refuses whatever the protocol does not allow, which
 * a real one would mend or drop in silence. It keeps spans and shows nothing. Imports no test runner.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';
import { until } from './loradrop-process.ts';

/** The part of OTLP 1.x that spans are made of. */
const PROTOCOL = `
syntax = "proto3";
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url = 3; }
message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; }
message ScopeSpans { InstrumentationScope scope = 1; repeated Span spans = 2; string schema_url = 3; }
message InstrumentationScope { string name = 1; string version = 2; repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
  uint32 dropped_attributes_count = 10; repeated Event events = 11; uint32 dropped_events_count = 12;
  repeated Link links = 13; uint32 dropped_links_count = 14; Status status = 15; fixed32 flags = 16;
}
message Event { fixed64 time_unix_nano = 1; string name = 2; repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4; }
message Link { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; repeated KeyValue attributes = 4; uint32 dropped_attributes_count = 5; fixed32 flags = 6; }
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`;
const { root } = protobuf.parse(PROTOCOL);
const Request = root.lookupType('ExportTraceServiceRequest');

const KINDS = [undefined, 'internal', 'server', 'client', 'producer', 'consumer'];
/** A span cannot be older than the test run, nor from the future. */
const OLDEST_MS = 3_600_000;
const NEWEST_MS = 60_000;

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** A span as it came in; ids in hex, times in milliseconds since the epoch. */
export type ReceivedSpan = {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly traceState: string;
  readonly name: string;
  readonly kind: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly failed: boolean;
  readonly resource: Attributes;
};

/** A running stand-in. */
export type OtlpReceiver = {
  /** What `OTEL_EXPORTER_OTLP_ENDPOINT` would be. */
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** What was wrong with requests, one sentence each. */
  readonly complaints: readonly string[];
  /** Values of that header of each request. */
  header(name: string): readonly (string | undefined)[];
  waitFor(found: (spans: readonly ReceivedSpan[]) => boolean): Promise<void>;
  close(): Promise<void>;
};

/** Starts a receiver on loopback. */
export async function startOtlpReceiver(port = 0): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const complaints: string[] = [];
  const heads: Record<string, unknown>[] = [];
  const server = createServer(async (request, response) => {
    heads.push(request.headers);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    try {
      check(request.method === 'POST' && request.url === '/v1/traces', `${request.method} ${request.url}`);
      check(request.headers['content-type'] === 'application/x-protobuf', 'the media type');
      const got = readSpans(Buffer.concat(chunks));
      for (const { spanId } of got) {
        check(!spans.some((span) => span.spanId === spanId), `the span ${spanId} comes twice`);
      }
      spans.push(...got);
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    } catch (error) {
      complaints.push(String(error));
      response.writeHead(400).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    complaints,
    header: (name) => heads.map((head) => head[name] as string | undefined),
    waitFor: (found) => until(async () => found(spans)),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

type Ids = { traceId: Uint8Array; spanId: Uint8Array };
type Pair = { key: string; value?: Record<string, unknown> };
type WireSpan = Ids & {
  parentSpanId: Uint8Array;
  traceState: string;
  name: string;
  kind: number;
  startTimeUnixNano: { toString(): string };
  endTimeUnixNano: { toString(): string };
  attributes: Pair[];
  links: Ids[];
  status?: { code: number };
  droppedAttributesCount: number;
  droppedEventsCount: number;
  droppedLinksCount: number;
};
type WireRequest = {
  resourceSpans: {
    resource?: { attributes: Pair[] };
    scopeSpans: { scope?: { name: string }; spans: WireSpan[] }[];
  }[];
};

/** The spans of a request. Throws at the first thing that OTLP does not allow. */
function readSpans(bytes: Uint8Array): ReceivedSpan[] {
  checkFields(protobuf.Reader.create(bytes), Request, bytes.length);
  const { resourceSpans } = Request.decode(bytes) as unknown as WireRequest;
  check(resourceSpans.length > 0, 'a request without spans');
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const about = readAttributes(resource?.attributes ?? []);
    check(typeof about['service.name'] === 'string', 'the resource has no service.name');
    return scopeSpans.flatMap(({ scope, spans }) => {
      check(scope?.name !== undefined && scope.name !== '', 'the scope has no name');
      return spans.map((span) => readSpan(span, about));
    });
  });
}

/** Decoding skips fields it does not know; a field that the protocol does not have is an error here. */
function checkFields(reader: protobuf.Reader, type: protobuf.Type, end: number): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    check(field !== undefined, `${type.name} has no field ${tag >>> 3}`);
    if (field.resolve().resolvedType instanceof protobuf.Type) {
      check((tag & 7) === 2, `${type.name}.${field.name} is no message`);
      const length = reader.uint32();
      checkFields(reader, field.resolvedType as protobuf.Type, reader.pos + length);
    } else reader.skipType(tag & 7);
  }
  check(reader.pos === end, `${type.name} ends in the middle of a field`);
}

function readSpan(span: WireSpan, resource: Attributes): ReceivedSpan {
  const { name, kind, parentSpanId, links, status, traceState } = span;
  const [startMs, endMs] = [span.startTimeUnixNano, span.endTimeUnixNano].map(
    (at) => Number(String(at)) / 1e6,
  );
  check(name !== '', 'a span without a name');
  check(KINDS[kind] !== undefined, `${name}: kind ${kind}`);
  check(parentSpanId.length === 0 || parentSpanId.length === 8, `${name}: the parent's id`);
  check(startMs! <= endMs!, `${name} ends before it starts`);
  check(startMs! > Date.now() - OLDEST_MS && endMs! < Date.now() + NEWEST_MS, `${name}: its time`);
  const dropped = span.droppedAttributesCount + span.droppedEventsCount + span.droppedLinksCount;
  check(dropped === 0, `${name}: something was dropped`);
  check(status === undefined || [0, 1, 2].includes(status.code), `${name}: its status`);
  return {
    ...readIds(span, name),
    parentId: hex(parentSpanId),
    traceState,
    name,
    kind: KINDS[kind]!,
    startMs: startMs!,
    endMs: endMs!,
    attributes: readAttributes(span.attributes),
    links: links.map((link) => readIds(link, `a link of ${name}`)),
    failed: status?.code === 2,
    resource,
  };
}

function readIds({ traceId, spanId }: Ids, of: string): { traceId: string; spanId: string } {
  check(traceId.length === 16 && traceId.some(Boolean), `${of}: the trace id`);
  check(spanId.length === 8 && spanId.some(Boolean), `${of}: the span id`);
  return { traceId: hex(traceId), spanId: hex(spanId) };
}

function readAttributes(pairs: readonly Pair[]): Attributes {
  const entries = pairs.map(({ key, value }) => {
    const values = Object.values(value ?? {});
    check(key !== '' && values.length === 1, `the attribute ${key} has no value`);
    const [only] = values;
    return [
      key,
      typeof only === 'object' ? Number(String(only)) : (only as string | number | boolean),
    ] as const;
  });
  check(new Set(entries.map(([key]) => key)).size === entries.length, 'an attribute comes twice');
  return Object.fromEntries(entries);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

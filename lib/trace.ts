/**
 * Traces: a message's way is one trace, from whoever publishes it to its last effect. With `OTEL_DENO=true` Deno exports the spans
 * (https://docs.deno.com/runtime/fundamentals/open_telemetry/); without it there are none, and the `traceparent` that a message has is handed
 * on unchanged. Names and attributes are those of https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/.
 * @module
 */
import type { ConsumeMessage, Options } from "amqplib";
import type { Attributes, Context, Link, Span } from "@opentelemetry/api";
import { withoutPassword } from "./url.ts";

/**
 * Deno registers its tracer here with `OTEL_DENO=true`, before any module runs. To look for it needs no permission, as to ask for the variable
 * would, and without it nothing is loaded.
 */
const api = Symbol.for("opentelemetry.js.api.1") in globalThis
  ? await import("@opentelemetry/api")
  : undefined;
/** Whether spans are exported. */
export const tracing: boolean = api !== undefined;
const tracer = api?.trace.getTracer("event-sink");
/** Deno's spans have no `tracestate` (2.9.6), so that it travels beside them. */
const STATE = api?.createContextKey("tracestate");

/** What belongs to a trace: W3C trace context (https://www.w3.org/TR/trace-context/), as headers of a message or members of an event. */
export interface Traced {
  /** The trace, and the span in it that led to this. */
  traceparent?: string;
  /** What tracing systems add to it. */
  tracestate?: string;
}

/** What a span is about. */
export interface SpanOptions {
  /** Its part: a server's answers a request, a consumer's handles a message; both belong to nothing but `cause` (internal). */
  kind?: "internal" | "server" | "client" | "producer" | "consumer";
  /** What led to it: anything that may have a `traceparent`. */
  cause?: object;
  /** Attributes, named by OpenTelemetry's conventions. */
  attributes?: Attributes;
  /** The same of work that may serve many, such as a write: of one it is a part, to several it has links. */
  causes?: readonly Traced[];
}

/** A `traceparent`: version, trace, span, flags. Later versions may have more. */
const TRACEPARENT =
  /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-|$)/;

/** The flag of a trace that is recorded. */
const SAMPLED = 1;

/** Most characters that are handed on; a `tracestate` should keep to 512. */
const LONGEST = 512;

/** No trace; for each message one object would be made. */
const NONE: Traced = Object.freeze({});

/** The trace that headers or an event belong to, which anybody may have written; nothing when there is none. */
export function traceOf(cause: object | undefined): Traced {
  if (!cause) return NONE;
  const { traceparent, tracestate } = cause as Record<string, unknown>;
  if (typeof traceparent !== "string" || traceparent.length > LONGEST) return {};
  if (!TRACEPARENT.test(traceparent)) return {};
  const state = typeof tracestate === "string" && tracestate !== "" &&
    tracestate.length <= LONGEST && /^[\x20-\x7e]+$/.test(tracestate);
  return state ? { traceparent, tracestate } : { traceparent };
}

/** The trace of something that is made now: that of the current span, or of `cause` when nothing is traced. */
export function currentTrace(cause?: object): Traced {
  return api?.trace.getActiveSpan() ? traceIn(api.context.active()) : traceOf(cause);
}

function traceIn(context: Context): Traced {
  const { traceId, spanId, traceFlags } = api!.trace.getSpanContext(context)!;
  const traceparent = `00-${traceId}-${spanId}-0${traceFlags & SAMPLED}`;
  const tracestate = context.getValue(STATE!) as string | undefined;
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
}

/** Ids for a line in the log: of the current span, or the trace of `cause` when nothing is traced. */
export function traceIds(cause?: object): { traceId?: string; spanId?: string } {
  // What a socket tells comes in the context of whoever has used it last, whose span may have ended long ago.
  const span = api?.trace.getActiveSpan();
  const { traceId: current, spanId } = span?.isRecording() ? span.spanContext() : {};
  if (current) return { traceId: current, spanId };
  const [, traceId] = TRACEPARENT.exec(traceOf(cause).traceparent ?? "") ?? [];
  return traceId ? { traceId } : {};
}

/** Runs `work` as a span, whose failure is that of `work`; without tracing it just runs. */
export function inSpan<T>(name: string, options: SpanOptions, work: () => T): T {
  if (!api) return work();
  const { span, context } = begin(name, options);
  const end = (failure?: { error: unknown }) => {
    if (failure) fail(span!, failure.error);
    span?.end();
  };
  return api.context.with(context, () => {
    try {
      const result = work();
      if (!(result instanceof Promise)) return end(), result;
      return result.then((value) => (end(), value), (error) => {
        end({ error });
        throw error;
      }) as T;
    } catch (error) {
      end({ error });
      throw error;
    }
  });
}

/** A span that begins here and ends elsewhere. */
export interface OpenSpan {
  /** For what it leads to. */
  readonly trace: Traced;
  /** Ends it, with an error when it has failed. */
  end(error?: unknown): void;
}

/** Begins a span; without tracing it has the trace of its cause, and ends without a trace of its own. */
export function startSpan(name: string, options: SpanOptions): OpenSpan {
  if (!api) return { trace: traceOf(options.cause), end() {} };
  const { span, context } = begin(name, options);
  return {
    trace: traceIn(context),
    end(error) {
      if (span && error !== undefined) fail(span, error);
      span?.end();
    },
  };
}

/** Begins a span, and returns the context of what belongs to it; a trace that is not sampled has no spans. */
function begin(name: string, options: SpanOptions): { span?: Span; context: Context } {
  const { kind = "internal", causes, attributes } = options;
  const cause = causes?.length === 1 ? causes[0] : options.cause;
  const links = causes && causes.length > 1 ? causes.flatMap(linkTo) : [];
  const parent = kind === "server" || kind === "consumer" || causes
    ? contextOf(api!.ROOT_CONTEXT, cause)
    : currentOr(cause);
  // Deno's tracer does not ask whether the trace is sampled (2.9.6).
  const sampled = (api!.trace.getSpanContext(parent)?.traceFlags ?? SAMPLED) & SAMPLED;
  if (!sampled) return { context: parent };
  const spanKind = api!.SpanKind[kind.toUpperCase() as Uppercase<typeof kind>];
  const span = tracer!.startSpan(
    name,
    { kind: spanKind, attributes: present(attributes), links },
    parent,
  );
  return { span, context: api!.trace.setSpan(parent, span) };
}

/** OpenTelemetry counts an attribute that is undefined as one that was dropped. */
function present(attributes: Attributes | undefined): Attributes {
  const found: Attributes = {};
  for (const name in attributes) if (attributes[name] !== undefined) found[name] = attributes[name];
  return found;
}

/** Marks the current span as failed, for a failure that is not thrown out of it. */
export function recordFailure(error: unknown): void {
  const span = api?.trace.getActiveSpan();
  if (span) fail(span, error);
}

function fail(span: Span, error: unknown): void {
  const { name, message } = error instanceof Error
    ? error
    : { name: "_OTHER", message: String(error) };
  const told = withoutPassword(message);
  span.recordException({ name, message: told });
  span.setAttribute("error.type", name);
  span.setStatus({ code: api!.SpanStatusCode.ERROR, message: told });
}

/** Adds attributes to the current span. */
export function describeSpan(attributes: Attributes): void {
  api?.trace.getActiveSpan()?.setAttributes(attributes);
}

/** Returns `work` as a function that belongs to the current span whoever calls it: for what many share, such as a commit. */
export function ofThisSpan<T extends () => unknown>(work: T): T {
  return api ? api.context.bind(api.context.active(), work) : work;
}

/** Does work that belongs to no span, whoever asks for it first: opening what stays open, as what that does later would belong to it too. */
export function outsideSpans<T>(work: () => T): T {
  return api ? api.context.with(api.ROOT_CONTEXT, work) : work();
}

/** A message on its way to the broker. */
export interface TracedPublication {
  exchange: string;
  routingKey: string;
  content: Uint8Array;
  /** Its headers get the span's context. */
  options: Options.Publish;
}

/**
 * Publishes a message as a span, which lasts until its confirm. It belongs to the trace of the message's headers, else to that of the current
 * span.
 *
 * @param broker its URL, without password
 */
export function tracedPublish(
  { exchange, routingKey, content, options }: TracedPublication,
  broker: string,
  publish: () => Promise<void>,
): Promise<void> {
  if (!api) return publish();
  const { headers } = options;
  // Of the default exchange, the server's own name for where somebody waits for an answer: no two spans would have the same name.
  const anonymous = exchange === "" && routingKey.startsWith("amq.");
  const destination = exchange || routingKey;
  const attributes = {
    ...messageAttributes("publish", "send", { broker, routingKey, content, properties: options }),
    "messaging.destination.name": joined(exchange, routingKey),
    ...anonymous
      ? { "messaging.destination.anonymous": true }
      : { "messaging.destination.template": destination },
    "event_sink.reason": headers?.["x-reason"],
  };
  const name = anonymous ? "publish" : `publish ${destination}`;
  return inSpan(name, { kind: "producer", cause: headers, attributes }, () => {
    options.headers = { ...headers, ...currentTrace() };
    return publish();
  });
}

/** What a message is handled by. */
export interface TracedAttempt {
  /** The queue that it came from. */
  queue: string;
  /** 1 at first. */
  attempt: number;
  /** The broker's URL, without password. */
  broker: string;
}

/** Handles a message as a span. Its failures are recorded by {@linkcode recordFailure}, as they end in a retry. */
export function tracedProcess(
  { fields, properties, content }: ConsumeMessage,
  { queue, attempt, broker }: TracedAttempt,
  work: () => Promise<void>,
): Promise<void> {
  if (!api) return work();
  const { exchange, routingKey, deliveryTag } = fields;
  const attributes = {
    ...messageAttributes("process", "process", { broker, routingKey, content, properties }),
    "messaging.destination.name": joined(exchange, routingKey === queue ? "" : routingKey, queue),
    "messaging.destination.template": queue,
    "messaging.rabbitmq.message.delivery_tag": deliveryTag,
    "event_sink.attempt": attempt,
  };
  const { headers: cause } = properties;
  return inSpan(`process ${queue}`, { kind: "consumer", cause, attributes }, work);
}

function messageAttributes(
  operation: string,
  type: "send" | "process",
  { broker, routingKey, content, properties: { messageId, correlationId } }: {
    broker: string;
    routingKey: string;
    content: Uint8Array;
    properties: { messageId?: string; correlationId?: string };
  },
): Attributes {
  return {
    "messaging.system": "rabbitmq",
    "messaging.operation.name": operation,
    "messaging.operation.type": type,
    "messaging.rabbitmq.destination.routing_key": routingKey || undefined,
    "messaging.message.id": messageId,
    "messaging.message.conversation_id": correlationId,
    "messaging.message.body.size": content.length,
    ...serverOf(broker),
  };
}

/** RabbitMQ's destinations are made of exchange, routing key and queue (https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/). */
function joined(...parts: string[]): string {
  return parts.filter((part) => part !== "").join(":") || "amq.default";
}

const servers = new Map<string, Attributes>();

/** Nothing of a cluster, as it is not known here which of its nodes it is. */
function serverOf(broker: string): Attributes {
  const known = servers.get(broker);
  if (known) return known;
  const one = URL.canParse(broker) && !broker.includes(", ");
  const url = one ? new URL(broker) : undefined;
  const port = Number(url?.port) || (url?.protocol === "amqps:" ? 5671 : 5672);
  const server = url ? { "server.address": url.hostname, "server.port": port } : {};
  servers.set(broker, server as Attributes);
  return server as Attributes;
}

/** The current span where it belongs to the trace of `cause`, else `cause`: a message that comes with a trace stays in it. */
function currentOr(cause: object | undefined): Context {
  const current = api!.context.active();
  const caused = contextOf(current, cause);
  const traceId = (context: Context) => api!.trace.getSpanContext(context)?.traceId;
  return traceId(caused) === traceId(current) ? current : caused;
}

/** The context of what `cause` leads to, `base` when that has no trace. */
function contextOf(base: Context, cause: object | undefined): Context {
  const { traceparent, tracestate } = traceOf(cause);
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? "") ?? [];
  if (!traceId || !spanId) return base;
  const remote = { traceId, spanId, traceFlags: parseInt(flags!, 16), isRemote: true };
  const context = api!.trace.setSpanContext(api!.ROOT_CONTEXT, remote);
  return tracestate === undefined ? context : context.setValue(STATE!, tracestate);
}

function linkTo(traced: Traced): Link[] {
  const context = api!.trace.getSpanContext(contextOf(api!.ROOT_CONTEXT, traced));
  return context ? [{ context }] : [];
}

/**
 * Traces. With `OTEL_DENO=true` Deno exports the spans (https://docs.deno.com/runtime/fundamentals/open_telemetry/). Without it there are no
 * spans, and the `traceparent` of an event is handed on unchanged.
 * @module
 */
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";

const tracer = trace.getTracer("event-sink/pipeline");

/** What belongs to a trace. */
export interface Traced {
  /** W3C trace context (https://www.w3.org/TR/trace-context/#traceparent-header). */
  traceparent?: string | undefined;
}

/** The `traceparent` for an event that is made now: that of the current span, or of `cause` when nothing is traced. */
export function traceparent(cause: Traced = {}): string | undefined {
  const carrier: Traced = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? cause.traceparent;
}

/** Runs `work`, which handles an event or a request, as a span of its trace. */
export function traced<T>(
  name: string,
  cause: Traced,
  work: () => Promise<T> | T,
  kind: SpanKind = SpanKind.CONSUMER,
): Promise<T> {
  const parent = propagation.extract(context.active(), cause);
  return tracer.startActiveSpan(name, { kind }, parent, async (span) => {
    try {
      return await work();
    } catch (error) {
      span.recordException(error as Error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
      throw error;
    } finally {
      span.end();
    }
  });
}

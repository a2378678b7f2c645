/**
 * Traces: with `OTEL_DENO=true` Deno exports the spans (https://docs.deno.com/runtime/fundamentals/open_telemetry/); without it all of
 * this does nothing, and an event's `traceparent` is handed on as it came.
 * @module
 */
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";

const tracer = trace.getTracer("event-sink/pipeline");

/** What of an event tells its trace: W3C trace context. */
export interface Traced {
  traceparent?: string | undefined;
}

/** The `traceparent` for an event that is caused now; that of `cause` when nothing is traced. */
export function traceparent(cause: Traced = {}): string | undefined {
  const carrier: Traced = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? cause.traceparent;
}

/** Runs the handling of an event as a span of the event's trace. */
export function traced<T>(name: string, event: Traced, work: () => Promise<T>): Promise<T> {
  const parent = propagation.extract(context.active(), event);
  return tracer.startActiveSpan(name, { kind: SpanKind.CONSUMER }, parent, async (span) => {
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

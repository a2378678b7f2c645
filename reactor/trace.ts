/**
 * Spans of events and tasks. An event's trace travels in its members `traceparent` and `tracestate`, a task's in its field `trace`.
 * @module
 */
import type { SpanOptions } from "@event-sink/lib";
import type { ReactorEvent } from "./event.ts";

/** The name of a span about an event, and its options. What filters match, namespace and type, is its destination. */
export function spanOf(
  operation: "publish" | "process",
  { namespace, event_type }: Pick<ReactorEvent, "namespace" | "event_type">,
  { system, id, cause }: { system: "zeromq" | "mongodb"; id?: string; cause: object | undefined },
): [name: string, options: SpanOptions] {
  const destination = `${namespace}:${event_type}`;
  const attributes = {
    "messaging.system": system,
    "messaging.operation.name": operation,
    "messaging.operation.type": operation === "publish" ? "send" : operation,
    "messaging.destination.name": destination,
    "messaging.message.id": id,
  };
  const kind = operation === "publish" ? "producer" : "consumer";
  return [`${operation} ${destination}`, { kind, cause, attributes }];
}

/** The same of a write that serves many. */
export function writeSpan(
  operation: string,
  collection: string,
  causes: SpanOptions["causes"] = [],
): [name: string, options: SpanOptions] {
  const attributes = {
    "db.system.name": "mongodb",
    "db.collection.name": collection,
    "db.operation.name": operation,
    "messaging.batch.message_count": causes.length,
  };
  return [`${operation} ${collection}`, { kind: "client", causes, attributes }];
}

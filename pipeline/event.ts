/**
 * The events: JSON CloudEvents 1.0 in structured mode (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
 * @module
 */
import {
  BadMessage,
  currentTrace,
  inSpan,
  type Message,
  numberText,
  type Outgoing,
  parseExactly,
  printable,
  traceOf,
} from "@event-sink/lib";
import * as v from "valibot";
import { exchange } from "./topology.ts";

/**
 * Ids of events are message ids, which AMQP limits to 255 bytes (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, shortstr); ids of tasks
 * and events are made of those of objects by adding to them.
 */
const idOf = (maxBytes: number) =>
  v.pipe(
    v.unknown(),
    v.transform((value) => numberText(value) ?? value), // other producers number what they make
    v.string(),
    v.check((id) => id !== "" && fits(id, maxBytes), `expected 1 to ${maxBytes} bytes`),
  );
/** A UTF-16 unit takes three bytes at most, so most ids need not be encoded. */
const fits = (text: string, bytes: number) =>
  3 * text.length <= bytes || new TextEncoder().encode(text).length <= bytes;
const number = v.pipe(
  v.unknown(),
  v.transform((value) => Number(numberText(value) ?? NaN)), // Python writes 3.0
  v.number(),
);
const text = v.pipe(v.string(), v.minLength(1));
const name = v.pipe(v.string(), v.maxLength(200));

const object = v.object({ id: idOf(200), name, content: v.unknown() });
const task = v.object({ id: idOf(220), object });
const processing = v.object({
  task,
  processor: v.pipe(name, v.minLength(1)),
  attempt: v.pipe(number, v.integer(), v.minValue(1)),
  /** Seconds. */
  spent: v.pipe(number, v.minValue(0)),
  /** Why it failed. */
  reason: v.optional(v.string()),
});

const attributes = {
  specversion: v.literal("1.0"),
  id: idOf(255),
  source: text,
  time: v.pipe(
    v.string(),
    v.isoTimestamp(),
    v.check((time) => !Number.isNaN(Date.parse(time)), "there is no such date"),
  ),
  /** https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md */
  traceparent: v.optional(v.string()),
  tracestate: v.optional(v.string()),
};

const schemas = {
  OBJECT_CREATED: v.object({ ...attributes, type: v.literal("OBJECT_CREATED"), data: object }),
  TASK_CREATED: v.object({ ...attributes, type: v.literal("TASK_CREATED"), data: task }),
  TASK_STARTED: v.object({ ...attributes, type: v.literal("TASK_STARTED"), data: processing }),
  TASK_FINISHED: v.object({ ...attributes, type: v.literal("TASK_FINISHED"), data: processing }),
  TASK_FAILED: v.object({ ...attributes, type: v.literal("TASK_FAILED"), data: processing }),
};

/** The `type` of an event. */
export type EventType = keyof typeof schemas;
/** An event of one type. */
export type EventOf<T extends EventType> = v.InferOutput<(typeof schemas)[T]>;
/** Any event of the pipeline. */
export type Event = { [T in EventType]: EventOf<T> }[EventType];
/** An object; its `content` is what the user posted. */
export type PipelineObject = EventOf<"OBJECT_CREATED">["data"];

const routingKeys: Record<EventType, string> = {
  OBJECT_CREATED: "objects",
  TASK_CREATED: "task-requests",
  TASK_STARTED: "processing",
  TASK_FINISHED: "processing",
  TASK_FAILED: "processing",
};

/** All types. */
export const eventTypes = Object.keys(schemas) as EventType[];

/**
 * Makes an event whose time is now.
 *
 * @param id must be the same whenever the same fact is published again, so that receivers recognise a duplicate
 * @param cause what led to it, whose trace it belongs to when nothing is traced
 */
export function createEvent<T extends EventType>(
  type: T,
  { id, source, data }: Pick<EventOf<T>, "id" | "source" | "data">,
  cause?: object,
): EventOf<T> {
  const time = new Date().toISOString();
  const event = { specversion: "1.0", type, id, source, time, data };
  return { ...event, ...currentTrace(cause) } as EventOf<T>;
}

/** The message that carries an event; its message id is the event's id, its trace the event's. */
export function messageOf(event: Event): Outgoing {
  return message(event, JSON.stringify(event));
}

/** The message that carries an event of which only the JSON is left. */
export function storedMessage(json: string): Outgoing {
  return message(JSON.parse(json), json);
}

function message(event: Omit<Event, "data">, body: string): Outgoing {
  return {
    exchange,
    routingKey: routingKeys[event.type],
    body,
    properties: {
      messageId: event.id,
      contentType: "application/cloudevents+json",
      timestamp: Math.floor(Date.parse(event.time) / 1000),
      headers: traceOf(event),
    },
  };
}

/** Handles an event in its own trace where its message has none: other programs may set it in the event alone. */
export function inTraceOf<T>(event: Event, { properties }: Message, work: () => T): T {
  if (traceOf(properties.headers).traceparent || !traceOf(event).traceparent) return work();
  return inSpan(`process ${event.type}`, { kind: "consumer", cause: event }, work);
}

/**
 * Reads the event that a message carries.
 *
 * @param message the message, of which only the body is read
 * @param types the types that its queue may hold
 * @throws {BadMessage} when the body is no CloudEvent 1.0, its type is another one, or its data does not fit its type
 */
export function eventOf<T extends EventType>(
  message: Pick<Message, "body">,
  types: readonly T[],
): EventOf<T> {
  const event = parsed(message.body) as { specversion?: unknown; type?: unknown } | null;
  if (typeof event !== "object" || event?.specversion === undefined || event.type === undefined) {
    throw new BadMessage("the body is no CloudEvent: it lacks 'specversion' or 'type'");
  }
  if (event.specversion !== "1.0") {
    throw new BadMessage(
      `CloudEvents version ${quoted(event.specversion)} is not supported, only "1.0"`,
    );
  }
  const type = types.find((known) => known === event.type);
  if (!type) {
    throw new BadMessage(`event type ${quoted(event.type)} is not one of ${types.join(", ")}`);
  }
  const result = v.safeParse(schemas[type], event);
  if (result.success) return result.output as EventOf<T>;
  const [issue] = result.issues;
  // The issue quotes what it was given.
  const problem = `${v.getDotPath(issue) ?? "the event"}: ${issue.message}`;
  throw new BadMessage(`${type}: ${printable(problem, REASON_LIMIT)}`);
}

/** Characters of a message that its reason may quote: the reason goes into logs and headers. */
const REASON_LIMIT = 200;

function quoted(value: unknown): string {
  return printable(JSON.stringify(value), REASON_LIMIT);
}

function parsed(body: Uint8Array): unknown {
  try {
    return parseExactly(body);
  } catch (error) {
    throw new BadMessage((error as Error).message);
  }
}

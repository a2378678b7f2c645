/**
 * Events: a JSON text each, as producers in any language write it.
 * @module
 */
import { Buffer } from "node:buffer";
import { type Traced, traceOf } from "@event-sink/lib";

/** An event as the router publishes it. */
export interface ReactorEvent {
  /** Where it comes from, such as `openstack`. */
  namespace: string;
  /** What has happened, such as `zmq.test`. */
  event_type: string;
  /** Whatever the producer says of it. */
  payload: unknown;
  /** Seconds since 1970. */
  timestamp: number;
  /** The event that led to this one. */
  parent_event?: ReactorEvent | unknown;
  /** Its place in the journal, from 1; only a router with a journal gives one. */
  number?: number;
  /** The trace that it belongs to. */
  traceparent?: string;
  tracestate?: string;
  [more: string]: unknown;
}

/** Bytes that an event may have: with the result of its handler it must fit in one MongoDB document, which has 16 MiB at most. */
export const MAX_EVENT_BYTES = 8 * 1024 * 1024;

/** Characters of a namespace or an event type. They stand in a task beside the event, and in lines for people. */
const MAX_NAME = 1000;

/** How many events `parent_event` may lead back to: with more than that, events go round in circles. */
const MAX_PARENTS = 16;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** What an input fills in. */
export interface EventDefaults {
  /** Of events that have none. */
  namespace: string;
}

/**
 * Reads an event, and fills in namespace and timestamp where they are missing.
 *
 * @throws when it is none, saying why
 */
export function parseEvent(frame: Uint8Array, defaults: EventDefaults): ReactorEvent {
  return read(frame, defaults).event;
}

/**
 * Reads an event as {@linkcode parseEvent} does, and returns its head: its JSON text without the closing brace. The journal gives the event its
 * number later, and with {@linkcode eventText} that takes no second `JSON.stringify`.
 *
 * A number that the event has already comes from another journal, and is left out.
 *
 * @param traceFor the trace for an event, which becomes its own where it has none
 * @throws when it is no event, saying why
 */
export function parseHead(
  frame: Uint8Array,
  defaults: EventDefaults,
  traceFor: (event: ReactorEvent) => Traced = () => ({}),
): string {
  const { text, event, added, changed } = read(frame, defaults);
  const found = traceFor(event);
  const trace = event.traceparent === undefined ? found : {};
  if (changed || event.number !== undefined) {
    const { number: _, ...rest } = event;
    return written({ ...rest, ...trace }).slice(0, -1);
  }
  const head = text.slice(0, text.lastIndexOf("}")) + added;
  return trace.traceparent ? `${head},${JSON.stringify(trace).slice(1, -1)}` : head;
}

/** An event of the stream as JSON text, with what is needed of it. */
export interface StreamEvent {
  namespace: string;
  event_type: string;
  /** Its place in the journal; undefined when the router has none. */
  number: number | undefined;
  /** The trace that it belongs to. */
  trace: Traced;
  /** The whole event. It is not written anew, which might make it too large for MongoDB: `1e20` would become `100000000000000000000`. */
  text: string;
}

/**
 * Reads an event as {@linkcode parseEvent} does, and keeps its text.
 *
 * @throws when it is no event, saying why
 */
export function parseStreamEvent(frame: Uint8Array, defaults: EventDefaults): StreamEvent {
  const { text, event, added, changed } = read(frame, defaults);
  const { namespace, event_type, number } = event;
  const completed = changed
    ? written(event)
    : added
    ? `${text.slice(0, text.lastIndexOf("}"))}${added}}`
    : text;
  return { namespace, event_type, number, trace: traceOf(event), text: completed };
}

/** The same for an event that comes from the journal. */
export function storedEvent(text: string): StreamEvent {
  const event = JSON.parse(text) as ReactorEvent;
  const { namespace, event_type, number } = event;
  return { namespace, event_type, number, trace: traceOf(event), text };
}

/** The text of an event from its head and its number, if it has one. */
export function eventText(head: string, number: number | undefined): string {
  return number === undefined ? head + "}" : `${head},"number":${number}}`;
}

/** An event, and what was filled in. */
interface Read {
  /** As it came. */
  text: string;
  event: ReactorEvent;
  /** Members that were missing, as JSON text to append to `text`. */
  added: string;
  /** Whether a member has another value than in `text`. */
  changed: boolean;
}

function read(frame: Uint8Array, { namespace }: EventDefaults): Read {
  const text = decoded(frame);
  const event = parsed(text);
  if (event.event_type === undefined) throw new TypeError("the event has no 'event_type'");
  checkText(event, "event_type");
  checkParents(event);
  const now = Date.now() / 1000;
  let added = "";
  if (event.namespace === undefined) added += `,"namespace":${JSON.stringify(namespace)}`;
  if (event.timestamp === undefined) added += `,"timestamp":${now}`;
  let changed = event.namespace === null;
  event.namespace ??= namespace;
  checkText(event, "namespace");
  if (event.timestamp === undefined) event.timestamp = now;
  if (typeof event.timestamp !== "number") {
    event.timestamp = event.timestamp === null ? now : seconds(event.timestamp);
    changed = true;
  }
  return { text, event: event as ReactorEvent, added, changed };
}

function written(event: Record<string, unknown>): string {
  const text = JSON.stringify(event);
  checkSize(Buffer.byteLength(text));
  return text;
}

function checkSize(bytes: number): void {
  if (bytes <= MAX_EVENT_BYTES) return;
  throw new RangeError(`the event is too large: ${bytes} bytes, at most ${MAX_EVENT_BYTES}`);
}

function checkText(event: Record<string, unknown>, name: string): void {
  const value = event[name];
  if (typeof value !== "string" || value === "") {
    throw new TypeError(`'${name}' is not a text, or an empty one`);
  }
  if (value.length <= MAX_NAME) return;
  throw new RangeError(`'${name}' has ${value.length} characters, at most ${MAX_NAME}`);
}

function decoded(frame: Uint8Array): string {
  checkSize(frame.length);
  try {
    return utf8.decode(frame);
  } catch {
    throw new TypeError("the event is not UTF-8 text");
  }
}

function parsed(text: string): Record<string, unknown> {
  let event: unknown;
  try {
    event = JSON.parse(text);
  } catch (error) {
    // V8 quotes the text, which may be long.
    throw new SyntaxError(`the event is not JSON: ${(error as Error).message.slice(0, 200)}`);
  }
  if (typeof event === "object" && event !== null && !Array.isArray(event)) {
    return event as Record<string, unknown>;
  }
  const what = Array.isArray(event) ? "an array" : event === null ? "null" : `a ${typeof event}`;
  throw new TypeError(`the event is not a JSON object: it is ${what}`);
}

/** Reads a date and time; notifications of OpenStack have `2024-05-01 10:00:00.000000`, in UTC. */
function seconds(timestamp: unknown): number {
  const text = String(timestamp).trim().replace(/^(\d{4}-\d\d-\d\d) /, "$1T");
  const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`;
  const time = typeof timestamp === "string" ? Date.parse(zoned) : NaN;
  if (Number.isNaN(time)) {
    throw new TypeError("'timestamp' is neither seconds since 1970 nor a date and time");
  }
  return time / 1000;
}

function checkParents(event: Record<string, unknown>) {
  let depth = 0;
  let parent = event.parent_event;
  while (typeof parent === "object" && parent !== null) {
    if (++depth > MAX_PARENTS) {
      throw new RangeError(
        `the event has more than ${MAX_PARENTS} parents: 'parent_event' is nested too deep`,
      );
    }
    parent = (parent as Record<string, unknown>).parent_event;
  }
}

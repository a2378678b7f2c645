/**
 * The events: one frame of JSON each, as producers in any language write it.
 * @module
 */

/** An event as the router publishes it. */
export interface ReactorEvent {
  /** Where it comes from, such as `openstack`. */
  namespace: string;
  /** What has happened, such as `zmq.test`. */
  event_type: string;
  payload: unknown;
  /** Seconds since 1970. */
  timestamp: number;
  /** The event that led to this one. */
  parent_event?: ReactorEvent | unknown;
  /** Its place in the journal, from 1; only a router with a journal gives one. */
  number?: number;
  [more: string]: unknown;
}

/** Bytes that an event may have: with its handler's result it has room in one MongoDB document, 16 MiB. */
export const MAX_EVENT_BYTES = 8 * 1024 * 1024;

/** How many events `parent_event` may lead back to: beyond that events go round in circles. */
const MAX_PARENTS = 16;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** What a feed fills in. */
export interface EventDefaults {
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
 * The same as text without its last brace, so that the number can follow without another serialisation. A number that it
 * has already, from another journal, is left out.
 *
 * @throws when it is no event, saying why
 */
export function parseHead(frame: Uint8Array, defaults: EventDefaults): string {
  const { text, event, added, changed } = read(frame, defaults);
  if (changed || event.number !== undefined) {
    const { number: _, ...rest } = event;
    return JSON.stringify(rest).slice(0, -1);
  }
  return text.slice(0, text.lastIndexOf("}")) + added;
}

/** The whole event of its head. */
export function eventText(head: string, number: number | undefined): string {
  return number === undefined ? head + "}" : `${head},"number":${number}}`;
}

function read(frame: Uint8Array, { namespace }: EventDefaults) {
  if (frame.length > MAX_EVENT_BYTES) {
    throw new RangeError(
      `the event is too large: ${frame.length} bytes, at most ${MAX_EVENT_BYTES}`,
    );
  }
  const text = decoded(frame);
  const event = parsed(text);
  if (event.event_type === undefined) throw new TypeError("the event has no 'event_type'");
  if (typeof event.event_type !== "string" || event.event_type === "") {
    throw new TypeError("'event_type' is not a text, or an empty one");
  }
  let added = "";
  let changed = false;
  if (event.namespace === undefined) {
    event.namespace = namespace;
    added += `,"namespace":${JSON.stringify(namespace)}`;
  } else if (event.namespace === null) {
    event.namespace = namespace;
    changed = true;
  } else if (typeof event.namespace !== "string" || event.namespace === "") {
    throw new TypeError("'namespace' is not a text, or an empty one");
  }
  if (event.timestamp === undefined) {
    event.timestamp = Date.now() / 1000;
    added += `,"timestamp":${event.timestamp}`;
  } else if (typeof event.timestamp !== "number") {
    event.timestamp = event.timestamp === null ? Date.now() / 1000 : seconds(event.timestamp);
    changed = true;
  }
  checkParents(event);
  return { text, event: event as ReactorEvent, added, changed };
}

function decoded(frame: Uint8Array): string {
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

/** Notifications of OpenStack have `2024-05-01 10:00:00.000000`, in UTC. */
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

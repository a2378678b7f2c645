/**
 * Messages as lines of JSON: what `tap --save` and `dead-letters show --json` write, and `replay` reads.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Options } from "amqplib";
import { textOf } from "./text.ts";

/** A message, with all that is needed to publish it again. */
export interface SavedMessage {
  /** When it was seen. */
  time?: Date;
  /** Exchange that it was published to. */
  exchange: string;
  /** Routing key that it was published with. */
  routingKey: string;
  /** The body's bytes. */
  body: Uint8Array;
  /** Its properties, `headers` among them. */
  properties: Options.Publish;
}

/** A line that holds no message; says what is wrong. */
export class NotSaved extends Error {}

/** What properties there are (AMQP 0-9-1, class basic), by amqplib's names; `deliveryMode` is left out, as all that is published again is persistent. */
const PROPERTIES: Record<string, "string" | "number"> = {
  contentType: "string",
  contentEncoding: "string",
  priority: "number",
  correlationId: "string",
  replyTo: "string",
  expiration: "string",
  messageId: "string",
  timestamp: "number",
  type: "string",
  userId: "string",
  appId: "string",
};

/**
 * The line of a message, without a line feed: `time`, `exchange`, `routingKey`, `properties`, `headers` where there are any, and `body`, or
 * `bodyBase64` where it is not UTF-8. Values of headers that JSON does not have are objects with a `!`: `{"!":"timestamp","value":1}` as amqplib has
 * them, `{"!":"bytes","base64":"..."}`, `{"!":"double","value":"NaN"}`.
 *
 * @param more members to put before these
 */
export function savedLine(
  { time, exchange, routingKey, body, properties }: SavedMessage,
  more: Record<string, unknown> = {},
): string {
  const { headers = {} } = properties;
  const kept = Object.keys(PROPERTIES).flatMap((name) => {
    const value = properties[name as keyof Options.Publish];
    return value === undefined ? [] : [[name, value]];
  });
  const text = textOf(body);
  return JSON.stringify({
    ...more,
    ...time && { time: time.toISOString() },
    exchange,
    routingKey,
    properties: Object.fromEntries(kept),
    ...Object.keys(headers).length > 0 && { headers: toJson(headers) },
    ...text === undefined ? { bodyBase64: Buffer.from(body).toString("base64") } : { body: text },
  });
}

/**
 * Reads a line; members that it does not know are left alone.
 *
 * @throws {NotSaved} when it is no saved message
 */
export function parseSaved(line: string): SavedMessage {
  let saved: Record<string, unknown>;
  try {
    saved = JSON.parse(line.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new NotSaved(`no JSON: ${(error as Error).message}`);
  }
  if (!isObject(saved)) throw new NotSaved("no JSON object");
  const { exchange, routingKey, properties = {}, headers, time } = saved;
  if (typeof exchange !== "string") throw new NotSaved("'exchange' is no text");
  if (typeof routingKey !== "string") throw new NotSaved("'routingKey' is no text");
  if (time !== undefined && (typeof time !== "string" || Number.isNaN(Date.parse(time)))) {
    throw new NotSaved("'time' is no date");
  }
  return {
    ...time !== undefined && { time: new Date(time) },
    exchange,
    routingKey,
    body: bodyOf(saved),
    properties: { ...checkedProperties(properties), ...headers !== undefined && checked(headers) },
  };
}

function bodyOf({ body, bodyBase64 }: Record<string, unknown>): Uint8Array {
  if (typeof body === "string" && bodyBase64 === undefined) return new TextEncoder().encode(body);
  if (body !== undefined || typeof bodyBase64 !== "string") {
    throw new NotSaved("there must be one text: 'body', or 'bodyBase64'");
  }
  const bytes = fromBase64(bodyBase64);
  if (!bytes) throw new NotSaved("'bodyBase64' is not base64");
  return bytes;
}

function checkedProperties(properties: unknown): Options.Publish {
  if (!isObject(properties)) throw new NotSaved("'properties' is no object");
  for (const [name, value] of Object.entries(properties)) {
    const type = PROPERTIES[name];
    if (!type) throw new NotSaved(`there is no property '${name}'`);
    const good = type === "string"
      ? typeof value === "string"
      : Number.isSafeInteger(value) && Number(value) >= 0;
    if (!good) throw new NotSaved(`property '${name}' is no ${type === "string" ? "text" : type}`);
  }
  return properties;
}

function checked(headers: unknown): Options.Publish {
  if (!isObject(headers)) throw new NotSaved("'headers' is no object");
  return { headers: mapped(headers, (value, name) => fromJson(value, `header '${name}'`)) };
}

function toJson(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    return { "!": "bytes", base64: Buffer.from(value).toString("base64") };
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    return { "!": "double", value: String(value) };
  }
  if (Array.isArray(value)) return value.map(toJson);
  if (isObject(value)) return mapped(value, toJson);
  return value;
}

/** Deepest nesting of a header: amqplib needs more stack for deeper ones than there may be. */
const MOST_NESTING = 100;

/** @param where the header, for errors */
function fromJson(value: unknown, where: string, depth = 0): unknown {
  if (depth > MOST_NESTING) {
    throw new NotSaved(`${where} is nested more than ${MOST_NESTING} levels deep`);
  }
  // amqplib would write it as a 64-bit integer, which it does not fit into.
  if (typeof value === "number") return value < -(2 ** 63) ? { "!": "double", value } : value;
  if (Array.isArray(value)) return value.map((each) => fromJson(each, where, depth + 1));
  if (!isObject(value)) return value;
  if ("!" in value) return ofType(value, where);
  return mapped(value, (each) => fromJson(each, where, depth + 1));
}

/** The types that {@linkcode toJson} and amqplib's reading lead to. */
function ofType({ "!": type, value, base64 }: Record<string, unknown>, where: string): unknown {
  const wrong = () => new NotSaved(`${where} is no ${type}`);
  const isWhole = (number: unknown) => Number.isSafeInteger(number) && Number(number) >= 0;
  switch (type) {
    case "bytes": {
      const bytes = typeof base64 === "string" ? fromBase64(base64) : undefined;
      if (!bytes) throw wrong();
      return bytes;
    }
    case "double":
      if (typeof value !== "number" && !/^(NaN|-?Infinity)$/.test(String(value))) throw wrong();
      return { "!": "double", value: Number(value) };
    case "timestamp":
      if (!isWhole(value)) throw wrong();
      return { "!": type, value };
    case "decimal":
      if (!isObject(value) || !isWhole(value.places) || !isWhole(value.digits)) throw wrong();
      return { "!": type, value };
    default:
      throw new NotSaved(`${where}: there is no type '${type}'`);
  }
}

/** Undefined when it is not base64: Buffer.from() would leave out what is not. */
function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  const [same, given] = [bytes.toString("base64"), text].map((each) => each.replace(/=+$/, ""));
  return same === given ? bytes : undefined;
}

function mapped(
  object: Record<string, unknown>,
  change: (value: unknown, name: string) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, change(value, name)]),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

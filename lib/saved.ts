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
    saved = JSON.parse(line);
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
  // Buffer.from() would leave out what is not base64.
  const bytes = Buffer.from(bodyBase64, "base64");
  if (bytes.toString("base64").replace(/=+$/, "") !== bodyBase64.replace(/=+$/, "")) {
    throw new NotSaved("'bodyBase64' is not base64");
  }
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
  return { headers: fromJson(headers) as Record<string, unknown> };
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

function fromJson(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromJson);
  if (!isObject(value)) return value;
  if (value["!"] === "bytes") return Buffer.from(String(value.base64), "base64");
  if (value["!"] === "double") return { "!": "double", value: Number(value.value) };
  return mapped(value, fromJson);
}

function mapped(
  object: Record<string, unknown>,
  change: (value: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

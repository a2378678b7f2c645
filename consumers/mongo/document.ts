/**
 * The document that a message becomes.
 * @module
 */
import { BadMessage, type Message, textOf } from "@event-sink/lib";
import { Long } from "mongodb";

/** A message as it stands in MongoDB. */
export interface EventDocument {
  /** The message's `messageId`, so that a redelivery is a duplicate; an ObjectId of the driver's when it has none. */
  _id?: string;
  /** When it was received, in milliseconds since the epoch. */
  created: Long;
  /** The body as text. */
  message: string;
  /** The parsed body, when it is JSON. */
  event?: unknown;
  /** Routing key, when it is not empty. */
  routingKey?: string;
  /** Headers, when there are any. */
  headers?: Record<string, unknown>;
  /** When it was published, to the second, when the publisher said so. */
  publishedAt?: Date;
}

/**
 * Makes the document of a message.
 *
 * @throws {BadMessage} when the body is not UTF-8
 */
export function documentOf({ body, properties, routingKey }: Message): EventDocument {
  const text = textOf(body);
  if (text === undefined) throw new BadMessage("the body is not UTF-8 text");
  const { messageId, headers = {}, timestamp } = properties;
  const document: EventDocument = { created: Long.fromNumber(Date.now()), message: text };
  if (messageId) document._id = messageId;
  const event = parsed(text);
  if (event !== undefined) document.event = event;
  if (routingKey !== "") document.routingKey = routingKey;
  if (Object.keys(headers).length > 0) document.headers = headers;
  if (timestamp !== undefined) document.publishedAt = new Date(Number(timestamp) * 1000);
  return document;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

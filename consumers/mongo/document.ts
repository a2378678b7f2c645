/**
 * The document that a message becomes.
 * @module
 */
import { BadMessage, type Message, textOf } from "@event-sink/lib";
import { calculateObjectSize, Long } from "bson";

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

/** https://www.mongodb.com/docs/manual/reference/limits/: a document has 16 MiB at most. */
const SIZE_LIMIT = 16 * 2 ** 20;

/**
 * Makes the document of a message.
 *
 * @throws {BadMessage} when the body is not UTF-8, or the document larger than MongoDB takes
 */
export function documentOf(
  { body, properties, routingKey }: Pick<Message, "body" | "properties" | "routingKey">,
): EventDocument {
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
  // Checked here, as the driver's error speaks of a buffer's offset; and for large bodies only, as a document is at most a few times its body.
  if (body.length > SIZE_LIMIT / 8) {
    const size = calculateObjectSize(document);
    if (size > SIZE_LIMIT) {
      throw new BadMessage(
        `MongoDB cannot take the document: its size is ${size} bytes, the limit ${SIZE_LIMIT}`,
      );
    }
  }
  return document;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

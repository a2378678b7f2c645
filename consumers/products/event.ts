/**
 * The events, on the wire and in the outbox. asyncapi.json describes them.
 * @module
 */
import { BadMessage, type Message, type Outgoing, parseExactly, printable } from "@event-sink/lib";
import type { Product } from "./product.ts";
import { isObject, validateProduct, wholeNumber } from "./validation.ts";

/** The form of our events; a later one is refused rather than misread. */
const SCHEMA = 1;

/** An event as it is stored and published. */
export interface StoredEvent {
  type: string;
  /** The message's id: the same for the same fact. */
  id: string;
  /** The product's version, where there is one. */
  version?: number;
  /** JSON. */
  body: unknown;
}

/** What happened to a product; without a version when an older producer tells it. */
export type ProductEvent =
  | { type: "product_created" | "product_updated"; product: Product; version?: number }
  | { type: "product_deleted"; id: number; version?: number };

/** What `service` tells `admin`. */
export type Feedback =
  | { type: "product_liked"; product: number; user: number }
  | { type: "products_requested" };

/** The message of an event that waits in the outbox. */
export function messageOf(event: string, queue: string): Outgoing {
  const { type, id, version, body } = JSON.parse(event) as StoredEvent;
  const headers = { schema: SCHEMA, ...version === undefined ? {} : { version } };
  return {
    routingKey: queue,
    body: JSON.stringify(body),
    properties: { type, messageId: id, contentType: "application/json", headers },
  };
}

/**
 * Reads an event about a product.
 *
 * @throws {BadMessage} when it is none, with the reason
 */
export function productEventOf(message: Message): ProductEvent {
  const { type, version, body } = envelopeOf(message);
  if (type === "product_deleted") return { type, id: idOf(body), version };
  if (type !== "product_created" && type !== "product_updated") throw unknownType(type);
  const id = idOf(body);
  const fields = (() => {
    try {
      return validateProduct(body);
    } catch (error) {
      throw new BadMessage((error as Error).message);
    }
  })();
  const { likes, created_at } = body as Record<string, unknown>;
  const product = {
    id,
    title: fields.title,
    description: fields.description ?? null,
    price: fields.price,
    image: fields.image ?? null,
    likes: wholeNumber(likes) ?? 0,
    created_at: typeof created_at === "string" ? created_at : null,
  };
  return { type, product, version };
}

/**
 * Reads what `service` tells.
 *
 * @throws {BadMessage} when it is nothing of that, with the reason
 */
export function feedbackOf(message: Message): Feedback {
  const { type, body } = envelopeOf(message);
  if (type === "products_requested") return { type };
  if (type !== "product_liked") throw unknownType(type);
  const user = isObject(body) ? wholeNumber(body.user_id) : undefined;
  if (user === undefined) throw new BadMessage("user_id: A valid integer is required.");
  return { type, product: idOf(body), user };
}

function envelopeOf({ properties, body }: Message) {
  const { type = properties.contentType, headers = {} } = properties;
  const { schema = SCHEMA, version } = headers;
  // Older producers put the name into the content type.
  if (typeof type !== "string" || !/^products?_/.test(type)) throw unknownType(type);
  if (schema !== SCHEMA) {
    throw new BadMessage(
      `events of schema ${quoted(schema)} are not known here, only those of ${SCHEMA}`,
    );
  }
  if (version !== undefined && !(Number.isSafeInteger(version) && version > 0)) {
    throw new BadMessage(`version: expected a whole number from 1, not ${quoted(version)}`);
  }
  try {
    return { type, version: version as number | undefined, body: parseExactly(body) };
  } catch (error) {
    throw new BadMessage((error as Error).message);
  }
}

function unknownType(type: unknown): BadMessage {
  return new BadMessage(
    `it is no event of products: its type is ${type === undefined ? "missing" : quoted(type)}`,
  );
}

/** Of a product, or of what older producers send when one is deleted: its id alone. */
function idOf(body: unknown): number {
  const value = isObject(body) ? body.id : body;
  const id = wholeNumber(value);
  if (id !== undefined) return id;
  throw new BadMessage(`id: expected a whole number from 1, not ${quoted(value)}`);
}

function quoted(value: unknown): string {
  return printable(`${JSON.stringify(value)}`, 100);
}

/**
 * A dead letter: where it came from, why it is here, how it is shown, and how it goes back.
 * @module
 */
import { createHash } from "node:crypto";
import { printable, type Queried, renewed, republishable, savedLine, shown } from "@event-sink/lib";
import type { ConsumeMessage, MessageProperties, Options } from "amqplib";

/** What a message in a dead-letter queue says of itself; undefined is what it does not say. */
export interface Letter {
  id?: string;
  reason?: string;
  attempts?: number;
  /** When it was first published. */
  published?: Date;
  /** Exchange, routing key and queue that it came by. */
  originalExchange?: string;
  originalRoutingKey?: string;
  originalQueue?: string;
}

/** Reads the headers of this project's tools, else those of RabbitMQ's own dead-lettering (https://www.rabbitmq.com/docs/dlx#effects). */
export function letterOf({ properties }: { properties: Options.Publish }): Letter {
  const { messageId, timestamp, headers = {} } = properties;
  const deaths = Array.isArray(headers["x-death"]) ? headers["x-death"] : []; // the latest first
  const death = deaths.findLast((each) => each?.queue === headers["x-first-death-queue"]) ??
    deaths.at(-1);
  return {
    id: messageId,
    reason: text(headers["x-reason"]) ?? text(death?.reason),
    attempts: typeof headers["x-attempts"] === "number" ? headers["x-attempts"] : undefined,
    published: dateOf(timestamp),
    originalExchange: text(headers["x-original-exchange"]) ?? text(death?.exchange),
    originalRoutingKey: text(headers["x-original-routing-key"]) ??
      text(death?.["routing-keys"]?.[0]),
    originalQueue: text(headers["x-original-queue"]) ?? text(headers["x-first-death-queue"]) ??
      text(death?.queue),
  };
}

/**
 * The properties with which a letter goes to a queue, mostly back to its own: those that it has, so that the consumer sees the original exchange
 * and key, and with `x-attempts` 0 a first attempt. What RabbitMQ has counted goes too, for consumers that go by that.
 */
export function replayed(
  properties: Options.Publish,
  letter: Pick<Letter, "originalExchange" | "originalRoutingKey">,
  target: string,
): Options.Publish {
  const gone = /^(x-reason|x-(first-|last-)?death.*|x-(delivery|acquired)-count|CC|BCC)$/;
  const kept = Object.entries(properties.headers ?? {}).filter(([name]) => !gone.test(name));
  return {
    ...republishable(properties as MessageProperties),
    headers: {
      ...Object.fromEntries(kept),
      "x-attempts": 0,
      "x-original-exchange": letter.originalExchange ?? "",
      "x-original-routing-key": letter.originalRoutingKey ?? target,
      "x-original-queue": target,
    },
  };
}

/**
 * A digest of the body and of the properties that a copy for the same queue keeps. It tells apart letters that have the same message id, or none; what
 * differs in nothing, as copies do that a crash has left, has the same.
 */
export function digestOf(message: ConsumeMessage): string {
  const { deliveryMode: _, ...properties } = renewed(message); // a copy is always persistent
  const text = JSON.stringify(properties, inOrder);
  const hash = createHash("sha256").update(message.content).update(text);
  return hash.digest("hex").slice(0, 32);
}

/** RabbitMQ 3.10 gives the fields of a table in another order than it got them. */
function inOrder(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
}

/** Lines for people. What a stranger has written cannot move the cursor or begin a line. */
export function lines(
  queue: string,
  { content }: ConsumeMessage,
  letter: Letter,
  full: boolean,
): string[] {
  const { id, reason, attempts, published } = letter;
  const { originalQueue, originalExchange, originalRoutingKey } = letter;
  const body = shown(content, full ? Infinity : 200);
  return [
    `${id ?? "(no message id)"} in ${queue}`,
    `  reason    ${reason ?? "?"}`,
    `  attempts  ${attempts ?? "?"}, published ${published ? `${age(published)} ago` : "?"}`,
    `  from      queue ${quoted(originalQueue)}, exchange ${quoted(originalExchange)}, ` +
    `routing key ${quoted(originalRoutingKey)}`,
    `  body      ${body}`,
  ].map((line) => printable(line, Infinity));
}

/** What `--where` asks about: as {@linkcode json} shows it. */
export function queried({ properties, content }: ConsumeMessage, letter: Letter): Queried {
  const { originalExchange = "", originalRoutingKey = "", published } = letter;
  return {
    exchange: originalExchange,
    routingKey: originalRoutingKey,
    body: content,
    properties,
    time: published,
  };
}

/** One JSON object for scripts: a line of `tap --save` with the queue, a digest and what the letter says of itself before. */
export function json(queue: string, message: ConsumeMessage, letter: Letter): string {
  return savedLine(queried(message, letter), {
    queue,
    digest: digestOf(message),
    ...letter,
  });
}

/** Undefined for a number of seconds that is no date: anybody may have written it. */
function dateOf(seconds: unknown): Date | undefined {
  const date = new Date(typeof seconds === "number" ? seconds * 1000 : NaN);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function quoted(text: string | undefined): string {
  return text === undefined ? "?" : `'${text}'`;
}

function age(since: Date): string {
  const seconds = Math.max(0, Math.round((Date.now() - since.getTime()) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

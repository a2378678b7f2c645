/**
 * Consuming: a message is acknowledged after its effect, retried through the broker, and dead-lettered in the end.
 * @module
 */
import type { Channel, ConsumeMessage, MessageProperties, Options } from "amqplib";
import { type Broker, CLOSE_LIMIT } from "./broker.ts";
import { isRefusal, keepChannel } from "./channel.ts";
import { createPublisher, type Publisher } from "./publish.ts";
import { during, within } from "./tool.ts";

/** A message as a handler gets it. */
export interface Message {
  /** The body's bytes. */
  readonly body: Uint8Array;
  /** Message properties: `messageId`, `headers`, `contentType`, `timestamp` (seconds), ... */
  readonly properties: MessageProperties;
  /** Exchange that it was first published to. */
  readonly exchange: string;
  /** Routing key that it was first published with. */
  readonly routingKey: string;
  /** 1 at first, 2 at the first retry. */
  readonly attempt: number;
}

/** Thrown by a handler for input that no repetition makes good: the message is dead-lettered at once. */
export class BadMessage extends Error {
  override name = "BadMessage";
}

/** What to consume, and how. */
export interface ConsumeOptions {
  /** The queue. */
  queue: string;
  /** Declares the queue, its exchange and bindings; runs again on every new channel. */
  declare: (channel: Channel) => Promise<unknown>;
  /** How many messages may be in hand at once, all handled concurrently (1). */
  prefetch?: number;
  /** Where messages end that cannot be handled (`<queue>.dlq`). */
  deadLetters?: string;
  /** How often a message is tried before it is dead-lettered (5). */
  attempts?: number;
  /** Milliseconds before the first retry (1000); each further one waits three times longer, an hour at most. */
  retryDelay?: number;
  /** Stops consuming: what is in hand is finished, or given back when its handler throws. */
  signal: AbortSignal;
  /** Runs once, when all is declared and before the first message comes. */
  ready?: () => unknown;
}

/** Longest time between two attempts, in milliseconds. */
const LONGEST_DELAY = 3_600_000;

/** The queue where messages of `queue` end that cannot be handled, unless the tool names another. */
export function deadLetterQueue(queue: string): string {
  return `${queue}.dlq`;
}

/**
 * Consumes until `signal` aborts. A handler that returns acknowledges; one that throws {@linkcode BadMessage} dead-letters;
 * any other error retries with growing, jittered delay, then dead-letters. Retries wait in the broker, in queues
 * `<queue>.retry.1`, `.2`, ..., one per delay, as a queue expires messages only at its head
 * (https://www.rabbitmq.com/docs/ttl#per-message-ttl-caveats); they and the dead-letter queue need no arguments on the queue itself, so
 * that programs in other languages may declare it plainly.
 *
 * Headers of a retried or dead-lettered message: `x-attempts`, `x-reason`, `x-original-exchange`, `x-original-routing-key`,
 * `x-original-queue`.
 *
 * @throws when the broker refuses the declaration, when the connection was given up, or when a message can be neither retried
 * nor dead-lettered; what is in hand then goes back to its queue
 */
export async function consume(
  broker: Broker,
  options: ConsumeOptions,
  handler: (message: Message) => Promise<void> | void,
): Promise<void> {
  const { queue, prefetch = 1, attempts = 5, retryDelay = 1000 } = options;
  const { deadLetters = deadLetterQueue(queue) } = options;
  // Only a message that fails needs it, and the tutorial's first message should not wait for it.
  let publisher: Promise<Publisher> | undefined;
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const declaredRetries = new Set<string>();
  let session: Session | undefined;

  async function retryQueue(channel: Channel, attempt: number): Promise<string> {
    const name = `${queue}.retry.${attempt}`;
    if (!declaredRetries.has(name)) {
      await channel.assertQueue(name, {
        durable: true,
        arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue },
      });
      declaredRetries.add(name);
    }
    return name;
  }

  async function passOn(channel: Channel, raw: ConsumeMessage, message: Message, error: unknown) {
    const reason = error instanceof Error ? error.message : String(error);
    const final = error instanceof BadMessage || message.attempt >= attempts;
    const properties = {
      ...republishable(raw.properties),
      headers: {
        ...withoutCopies(raw.properties.headers),
        "x-attempts": message.attempt,
        "x-reason": reason.slice(0, 1000),
        "x-original-exchange": message.exchange,
        "x-original-routing-key": message.routingKey,
        "x-original-queue": queue,
      },
    };
    const growing = Math.min(LONGEST_DELAY, retryDelay * 3 ** (message.attempt - 1));
    const delay = Math.round(growing * (0.8 + Math.random() * 0.4));
    const routingKey = final ? deadLetters : await retryQueue(channel, message.attempt);
    publisher ??= createPublisher(broker, { signal });
    await (await publisher).publish({
      routingKey,
      body: message.body,
      properties: final ? properties : { ...properties, expiration: delay },
    });
    const outcome = final
      ? `is now in ${deadLetters}`
      : `is tried again in ${(delay / 1000).toFixed(1)} s`;
    broker.log.warn(
      `Message ${
        raw.properties.messageId ?? "without id"
      } ${outcome}, after attempt ${message.attempt}: ${reason}`,
    );
  }

  async function handle(session: Session, raw: ConsumeMessage) {
    const message = incoming(raw, queue);
    try {
      try {
        await handler(message);
      } catch (error) {
        if (signal.aborted) return session.giveBack(raw);
        await passOn(session.channel, raw, message, error);
      }
      session.done(raw);
    } catch (error) {
      // Nowhere to put it. On a lost connection it comes again by itself; otherwise stop, rather than spin or stall.
      session.giveBack(raw);
      if ((session.open || isRefusal(error)) && !signal.aborted) failure.abort(error);
    }
  }

  try {
    await keepChannel(broker, {
      open: broker.createChannel,
      async setUp(channel, end) {
        const current = session = startSession(channel);
        declaredRetries.clear();
        await options.declare(channel);
        await channel.assertQueue(deadLetters, { durable: true });
        await channel.prefetch(prefetch);
        await options.ready?.();
        options.ready = undefined;
        const { consumerTag } = await channel.consume(queue, (raw) => {
          if (raw && !signal.aborted) current.begin(handle(current, raw));
          else if (raw) current.giveBack(raw);
          else {current.settled().then(() =>
              end(
                `the broker cancelled the consumer of queue '${queue}', which may have been deleted`,
              )
            );}
        });
        current.consumerTag = consumerTag;
      },
      closed: () => session?.settled(),
      async finish(channel) {
        const cancelled = channel.cancel(session!.consumerTag);
        await within(CLOSE_LIMIT, cancelled.catch(() => {})); // a channel that has closed consumes no more
        await during(`working on ${session!.inHand()} messages of '${queue}'`, session!.settled());
      },
      signal,
    });
  } finally {
    await (await publisher?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
  if (failure.signal.aborted) throw failure.signal.reason;
}

/** The messages in hand on one channel. */
interface Session {
  readonly channel: Channel;
  readonly open: boolean;
  consumerTag: string;
  begin(work: Promise<void>): void;
  done(raw: ConsumeMessage): void;
  giveBack(raw: ConsumeMessage): void;
  inHand(): number;
  /** Resolves when nothing is in hand. */
  settled(): Promise<void>;
}

function startSession(channel: Channel): Session {
  const work = new Set<Promise<void>>();
  let open = true;
  channel.on("close", () => open = false);

  // Delivery tags count from 1 on each channel. Acknowledging up to the last tag below which nothing is in hand takes one
  // frame for many messages (AMQP 0-9-1, basic.ack, field multiple).
  let toAcknowledge: number[] = [];
  const settledTags = new Set<number>();
  let below = 0;
  function acknowledge() {
    const tags = toAcknowledge;
    toAcknowledge = [];
    if (!open) return; // the broker delivers them again
    while (settledTags.delete(below + 1)) below++;
    const upTo = tags.reduce((most, tag) => tag <= below ? Math.max(most, tag) : most, 0);
    if (upTo > 0) send(() => channel.ack(tagged(upTo), true));
    for (const tag of tags) {
      if (tag > below) send(() => channel.ack(tagged(tag)));
    }
  }
  function send(answer: () => void) {
    try {
      answer();
    } catch (error) {
      // Closing, though not closed yet: the broker delivers the message again.
      if ((error as Error).name !== "IllegalOperationError") throw error;
    }
  }
  return {
    channel,
    consumerTag: "",
    get open() {
      return open;
    },
    begin(promise) {
      work.add(promise);
      promise.finally(() => work.delete(promise));
    },
    done(raw) {
      settledTags.add(raw.fields.deliveryTag);
      if (toAcknowledge.push(raw.fields.deliveryTag) === 1) queueMicrotask(acknowledge);
    },
    giveBack(raw) {
      settledTags.add(raw.fields.deliveryTag);
      send(() => channel.nack(raw, false, true));
    },
    inHand: () => work.size,
    async settled() {
      while (work.size > 0) await Promise.allSettled(work);
    },
  };
}

/** amqplib reads nothing but the tag. */
function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}

function incoming(raw: ConsumeMessage, queue: string): Message {
  const { fields, properties, content } = raw;
  const headers = properties.headers ?? {};
  const attempts = Number(headers["x-attempts"]);
  // Another queue's attempts do not count: a fanout's message may fail in one queue and not in the next.
  const retried = headers["x-original-queue"] === queue && Number.isInteger(attempts);
  return {
    body: content,
    properties,
    exchange: retried ? String(headers["x-original-exchange"]) : fields.exchange,
    routingKey: retried ? String(headers["x-original-routing-key"]) : fields.routingKey,
    attempt: retried ? attempts + 1 : 1,
  };
}

/** The properties that are set, without the two that hold for one publication only: its TTL and its authenticated user. */
export function republishable(properties: MessageProperties): Options.Publish {
  const { expiration: _, userId: __, ...rest } = properties;
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
}

/** RabbitMQ routes a message to the keys in these headers too (https://www.rabbitmq.com/docs/sender-selected): once was enough. */
function withoutCopies(headers: Record<string, unknown> = {}): Record<string, unknown> {
  const { CC: _, BCC: __, ...rest } = headers;
  return rest;
}

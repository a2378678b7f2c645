/**
 * What becomes of a message that was not handled: another attempt later, or the dead-letter queue.
 * @module
 */
import type { Channel, ConsumeMessage, MessageProperties, Options } from "amqplib";
import type { Broker } from "./broker.ts";
import { UNWRITABLE } from "./confirms.ts";
import { AT_LEAST_ONCE, UsedAsItIs } from "./declare.ts";
import { consumerCounts } from "./messaging_metrics.ts";
import { createPublisher, type Publisher } from "./publish.ts";
import { counted, printable } from "./text.ts";
import { outsideSpans, traceIds } from "./trace.ts";
import { withoutPassword } from "./url.ts";
import { backoff } from "./wait.ts";

/** Thrown by a handler for input that no repetition makes good: the message is dead-lettered at once. */
export class BadMessage extends Error {
  /** For those who see it through its name only. */
  override name = "BadMessage";
}

/** Where a message comes from, and how often it was tried. */
export interface History {
  /** Exchange that it was first published to. */
  exchange: string;
  /** Routing key that it was first published with. */
  routingKey: string;
  /** 1 at first, 2 at the first retry. */
  attempt: number;
  /** How often it came back unacknowledged. */
  redeliveries: number;
}

/** How to retry. */
export interface RetryOptions {
  /** The queue that is consumed. */
  queue: string;
  /** Where messages end that cannot be handled. */
  deadLetters: string;
  /** How often a message is tried before it is dead-lettered. */
  attempts: number;
  /** Milliseconds before the first retry; each further one waits three times longer, {@linkcode LONGEST_DELAY} at most. */
  retryDelay: number;
  /** Stops waiting for the broker. */
  signal: AbortSignal;
}

/**
 * Exchange to which the retry queues expire, routing key: the queue that is consumed. What that queue misses because it was deleted
 * meanwhile goes on to the alternate exchange, and from there to the dead-letter queue (https://www.rabbitmq.com/docs/ae).
 */
const RETRY_EXCHANGE = "event-sink.retry";
const MISSED_EXCHANGE = "event-sink.missed";

/**
 * How often a message may come back before it is published anew: RabbitMQ drops one that a quorum queue has delivered more often than its
 * limit, 20 by default in RabbitMQ 4 (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling). A client cannot ask for the limit
 * that a policy sets; this keeps to one of 3.
 */
export const MOST_DELIVERIES = 2;

/** Longest time between two attempts, in milliseconds. */
const LONGEST_DELAY = 3_600_000;

/** Longest reason in a header or a line, in characters. */
const LONGEST_REASON = 1000;

type Headers = Record<string, unknown>;

/** Puts messages where they belong that were not handled. Dispose it to close its channel. */
export interface Retries extends AsyncDisposable {
  /** Publishes a message for another attempt, or to the dead-letter queue; the caller acknowledges the original then. */
  passOn(channel: Channel, raw: ConsumeMessage, history: History, error: unknown): Promise<void>;
  /**
   * Publishes a message that came back unacknowledged to the end of its queue, or dead-letters it when it came back too often, or its queue is
   * full.
   *
   * @param ours whether this consumer gave it back itself: it does not count
   */
  renew(channel: Channel, raw: ConsumeMessage, history: History, ours: boolean): Promise<void>;
  /** Declares where retries come back to and end; for each new channel, after the queue itself. */
  declare(channel: Channel): Promise<void>;
}

/** Opens what a consumer needs for messages that fail; the channel is opened with the first of them. */
export function createRetries(broker: Broker, options: RetryOptions): Retries {
  const { queue, deadLetters, attempts, retryDelay, signal } = options;
  // Opened with the first message that fails: a consumer should not wait at its start for what it may never need.
  let publisher: Promise<Publisher> | undefined;
  const declared = new Set<string>();
  const count = consumerCounts(queue);

  async function retryQueue(attempt: number): Promise<string> {
    const name = `${queue}.retry.${attempt}`;
    if (!declared.has(name)) await declareRetryQueue(broker, name, queue);
    declared.add(name);
    return name;
  }

  async function publish(
    { properties, content }: ConsumeMessage,
    history: History,
    { routingKey, own = {}, headers = withoutCopies(properties.headers), expiration, patient }: {
      routingKey: string;
      patient?: boolean;
      own?: Headers;
      headers?: Headers;
      expiration?: number;
    },
  ) {
    publisher ??= outsideSpans(() => createPublisher(broker, { signal }));
    await (await publisher).publish({
      routingKey,
      patient,
      body: content,
      properties: {
        ...republishable(properties),
        messageId: idOf(properties),
        ...expiration === undefined ? {} : { expiration },
        headers: {
          ...headers,
          "x-attempts": history.attempt,
          ...history.redeliveries === 0 ? {} : { "x-redeliveries": history.redeliveries },
          "x-original-exchange": history.exchange,
          "x-original-routing-key": history.routingKey,
          "x-original-queue": queue,
          ...own,
        },
      },
    });
  }

  function tell({ properties }: ConsumeMessage, outcome: string, reason: string) {
    const messageId = printable(idOf(properties), 100);
    const { traceId } = traceIds(properties.headers);
    broker.log.warn(`Message ${messageId} ${outcome}: ${reason}`, { messageId, traceId });
  }

  async function bury(raw: ConsumeMessage, history: History, reason: string, headers?: Headers) {
    const own = { "x-reason": reason };
    await publish(raw, history, { routingKey: deadLetters, own, headers });
    count.deadLettered.value++;
    tell(raw, `is now in ${deadLetters}, after attempt ${history.attempt}`, reason);
  }

  async function retry(raw: ConsumeMessage, history: History, reason: string) {
    const { attempt } = history;
    const expiration = backoff(attempt, { first: retryDelay, longest: LONGEST_DELAY, factor: 3 });
    const routingKey = await retryQueue(attempt);
    // With a history RabbitMQ 3 drops what expires into a queue that it has expired in before, as a cycle (https://www.rabbitmq.com/docs/dlx#effects).
    const { "x-death": _, ...headers } = withoutCopies(raw.properties.headers);
    const own = { "x-reason": reason };
    await publish(raw, history, { routingKey, expiration, headers, own });
    count.retried.value++;
    const delay = (expiration / 1000).toFixed(1);
    tell(raw, `is tried again in ${delay} s, after attempt ${attempt}`, reason);
  }

  /** Moves a message, also when its queue was deleted meanwhile, or when it cannot be published as it is. */
  async function move(
    channel: Channel,
    raw: ConsumeMessage,
    { history, reason }: { history: History; reason: string },
    publishing: () => Promise<void>,
  ) {
    try {
      await publishing().catch(async (error) => {
        if (!/there is no queue/.test(error.message)) throw error;
        await declare(channel);
        await publishing();
      });
    } catch (error) {
      // amqplib reads headers that it cannot write: longer than 64 KiB, a double of -1e300, a table with a key "!".
      const { message } = error as Error;
      if (!message.includes(UNWRITABLE)) throw error;
      const why = /Encoded field table/.test(message) ? "are too long to" : "cannot";
      await bury(raw, history, `${reason} (its headers ${why} be passed on)`, {});
    }
  }

  async function declare(channel: Channel) {
    declared.clear();
    await channel.assertQueue(deadLetters, { durable: true });
    await channel.assertExchange(MISSED_EXCHANGE, "direct", { durable: true });
    await channel.bindQueue(deadLetters, MISSED_EXCHANGE, queue);
    const alternate = { durable: true, alternateExchange: MISSED_EXCHANGE };
    await channel.assertExchange(RETRY_EXCHANGE, "direct", alternate);
    await channel.bindQueue(queue, RETRY_EXCHANGE, queue);
  }

  return {
    async passOn(channel, raw, history, error) {
      const text = error instanceof Error ? error.message : String(error);
      const reason = printable(withoutPassword(text), LONGEST_REASON);
      const isFinal = error instanceof BadMessage || history.attempt >= attempts;
      const handling = isFinal ? bury : retry;
      await move(channel, raw, { history, reason }, () => handling(raw, history, reason));
    },
    async renew(channel, raw, before, ours) {
      const more = ours ? 0 : Math.max(1, deliveryCount(raw));
      const redeliveries = before.redeliveries + more;
      const history = { ...before, redeliveries };
      const reason = `it came back unacknowledged ${counted(redeliveries, "time")}: ` +
        "each time its consumer ended, or took longer than the broker allows";
      const own = { "x-attempts": history.attempt - 1 };
      await move(
        channel,
        raw,
        { history, reason },
        () =>
          more > 0 && redeliveries >= 3 * attempts
            ? bury(raw, history, reason)
            // A queue that is full refuses it; to wait until there is room would keep the consumer from making any.
            : publish(raw, history, { routingKey: queue, own, patient: false }).catch((error) => {
              if (!/refused the message/.test(error.message)) throw error;
              return bury(raw, history, `${reason}; its queue is full`);
            }),
      );
    },
    declare,
    async [Symbol.asyncDispose]() {
      await (await publisher?.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

/** Reads a message's history from its headers. Attempts in another queue do not count: of a fanout's copies only one may have failed. */
export function historyOf({ fields, properties }: ConsumeMessage, queue: string): History {
  const headers = properties.headers ?? {};
  const attempts = headers["x-attempts"];
  const ours = headers["x-original-queue"] === queue && isCount(attempts);
  const redeliveries = headers["x-redeliveries"];
  return {
    exchange: ours ? String(headers["x-original-exchange"]) : fields.exchange,
    routingKey: ours ? String(headers["x-original-routing-key"]) : fields.routingKey,
    attempt: ours ? attempts + 1 : 1,
    redeliveries: ours && isCount(redeliveries) ? redeliveries : 0,
  };
}

/** How often a quorum queue has delivered a message that came back; a classic queue does not count. */
export function deliveryCount({ fields, properties }: ConsumeMessage): number {
  const count = properties.headers?.["x-delivery-count"];
  // At a first delivery anybody may have written it.
  return fields.redelivered && isCount(count) ? count : 0;
}

/**
 * Declares a queue whose messages expire into another one, where the broker can with {@linkcode AT_LEAST_ONCE}: one whose default are classic
 * queues refuses that (406). On channels of its own, as a refusal closes the channel.
 */
async function declareRetryQueue(broker: Broker, name: string, queue: string): Promise<void> {
  const options = {
    durable: true,
    deadLetterExchange: RETRY_EXCHANGE,
    deadLetterRoutingKey: queue,
  };
  let wished: Options.AssertQueue = { ...options, arguments: AT_LEAST_ONCE };
  for (let done = false; !done;) {
    const channel = await broker.createChannel();
    channel.on("error", () => {}); // assertQueue() fails with the same
    try {
      await channel.assertQueue(name, wished);
      await channel.close();
      done = true;
    } catch (error) {
      if (error instanceof UsedAsItIs) continue;
      if (wished === options || (error as { code?: number }).code !== 406) throw error;
      wished = options;
    }
  }
}

/** Anybody may publish these headers: a negative number would have a message tried for ever, from a new retry queue each time. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A message's id; one without gets its own with its first retry, so that log and dead letter speak of the same. */
function idOf(properties: MessageProperties): string {
  return `${properties.messageId ??= crypto.randomUUID()}`;
}

/** The properties that are set, without the two that hold for one publication only: its TTL and its authenticated user. */
export function republishable(properties: MessageProperties): Options.Publish {
  const { expiration: _, userId: __, ...rest } = properties;
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
}

/**
 * RabbitMQ routes a message to the keys in these headers too (https://www.rabbitmq.com/docs/sender-selected), and has done so already. What a
 * quorum queue has counted holds for that delivery only.
 */
function withoutCopies(headers: Record<string, unknown> = {}): Record<string, unknown> {
  const { CC: _, BCC: __, "x-delivery-count": ___, ...rest } = headers;
  return rest;
}

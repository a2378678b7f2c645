/**
 * Looking at a queue without changing it.
 * @module
 */
import {
  type Broker,
  brokerText,
  createPublisher,
  pause,
  republishable,
  within,
} from "@event-sink/lib";
import type { Channel, ConsumeMessage } from "amqplib";

/** How to look. */
export interface Peeking {
  /** Messages to read at most. */
  most: number;
  /** Milliseconds that each answer of the broker may take. */
  timeout: number;
  /** Ends it. */
  signal: AbortSignal;
}

/** Bounds of what is asked for at once: enough to hide the round trips, few enough to keep memory flat. */
const BATCH_MESSAGES = 10_000;
const BATCH_BYTES = 16 * 2 ** 20;

/**
 * How often a quorum queue may have delivered its first message before all of them are published anew: a look is a delivery, and RabbitMQ
 * drops a message that was delivered more often than the queue's limit, 20 by default in RabbitMQ 4
 * (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling). This keeps to a limit of 3.
 */
const MOST_DELIVERIES = 2;

/**
 * Yields the messages that are in a queue, the first ones first. When the caller ends, all are given back, each to its place.
 *
 * @throws when there is no such queue, or the broker does not answer
 */
export async function* peek(
  broker: Broker,
  name: string,
  { most, timeout, signal }: Peeking,
): AsyncGenerator<ConsumeMessage> {
  const answered = <T>(work: Promise<T>) => answer(broker, name, timeout, work);
  const channel = await answered(broker.createChannel());
  channel.on("error", () => {}); // whoever waits for an answer gets the same error
  const closed = new Promise<void>((resolve) => channel.on("close", resolve));
  const { messageCount } = await answered(channel.checkQueue(name));
  const next = createBatches(channel, name, timeout, answered);
  let last: ConsumeMessage | undefined;

  /** Up to `limit` messages, in batches whose size follows that of the bodies. */
  async function* messages(limit: number): AsyncGenerator<ConsumeMessage> {
    let size = 50; // until it is known how long the bodies are
    for (let left = limit; left > 0 && !signal.aborted;) {
      const batch = Math.min(left, size);
      const got = await next(batch);
      last = got.at(-1) ?? last;
      left = got.length < batch ? 0 : left - batch;
      const bytes = got.reduce((sum, { content }) => sum + content.length, 1);
      size = Math.ceil(Math.min(BATCH_MESSAGES, BATCH_BYTES * batch / bytes));
      for (const message of got) {
        if (signal.aborted) return;
        yield message;
      }
    }
  }

  /** Publishes all messages anew, in their order; each is removed when the broker has confirmed its copy. */
  async function renew(first: ConsumeMessage): Promise<void> {
    await using publisher = await createPublisher(broker, { timeout, signal });
    const underway = new Set<Promise<void>>();
    let failure: unknown;
    async function copy(message: ConsumeMessage) {
      await publisher.ready();
      if (failure) throw failure;
      const confirmed = publisher
        .publish({ routingKey: name, body: message.content, properties: renewed(message) })
        .then(() => channel.ack(message))
        .catch((error) => failure ??= error)
        .finally(() => underway.delete(confirmed));
      underway.add(confirmed);
    }
    await copy(first);
    for await (const message of messages(messageCount - 1)) await copy(message);
    await Promise.all(underway);
    if (failure) throw failure;
  }

  try {
    let left = Math.min(most, messageCount);
    for await (const first of messages(Math.min(1, left))) {
      if (deliveryCount(first) >= MOST_DELIVERIES) {
        await renew(first);
      } else {
        left--;
        yield first;
      }
    }
    yield* messages(left);
  } finally {
    // A quorum queue appends what is given back to what was given back before, and delivers all that first. So all that is needed for
    // everything to be in its place again; not when the user wants to stop.
    const begun = last && deliveryCount(last) > 0;
    if (begun) {
      for await (const more of messages(Infinity)) if (deliveryCount(more) === 0) break;
    }
    // Without a question before its end RabbitMQ forgets acknowledgements for quorum queues that it has not passed on yet.
    await answered(channel.checkQueue(name)).catch(() => {});
    await within(timeout, Promise.race([channel.close().catch(() => {}), closed]));
    await givenBack(broker, name, messageCount);
  }
}

/** Waits until what was given back counts again, which a quorum queue does not wait for; another consumer may have it. */
async function givenBack(broker: Broker, name: string, count: number): Promise<void> {
  try {
    const asking = await broker.createChannel();
    asking.on("error", () => {});
    for (const end = Date.now() + 1000; Date.now() < end; await pause(20)) {
      if ((await asking.checkQueue(name)).messageCount >= count) break;
    }
    await asking.close();
  } catch {
    // The broker is away: it has everything back.
  }
}

/**
 * Returns what takes the next messages: by a consumer for each batch, with a prefetch of just the batch, as what basic.get takes would be given
 * back in another order. The queue is empty when it says so.
 */
function createBatches(
  channel: Channel,
  name: string,
  timeout: number,
  answered: <T>(work: Promise<T>) => Promise<T>,
): (batch: number) => Promise<ConsumeMessage[]> {
  // A quorum queue takes back what consumers held in the order of their tags, up to 32 of them.
  const tag = crypto.randomUUID();
  let consumers = 0;
  return async (batch) => {
    const messages: ConsumeMessage[] = [];
    const full = Promise.withResolvers<true>();
    await answered(channel.prefetch(batch));
    const { consumerTag } = await answered(channel.consume(name, (message) => {
      // Null is a deleted queue: the question below is answered with 404.
      if (message && messages.push(message) === batch) full.resolve(true);
    }, { consumerTag: `${tag}.${String(++consumers).padStart(9, "0")}` }));
    let before = -1;
    for (let since = Date.now(); !await within(20, full.promise);) {
      const { messageCount } = await answered(channel.checkQueue(name));
      if (messages.length > before) since = Date.now();
      else if (messageCount === 0) break; // those on their way, which do not count, have come by now
      before = messages.length;
      if (Date.now() - since > timeout) {
        throw new Error(`Cannot read '${name}': another consumer has it for itself`);
      }
    }
    await answered(channel.cancel(consumerTag));
    return messages;
  };
}

async function answer<T>(
  broker: Broker,
  name: string,
  timeout: number,
  work: Promise<T>,
): Promise<T> {
  let why = `${broker.name} does not answer`;
  try {
    const answer = await within(timeout, work);
    if (answer !== undefined) return answer;
  } catch (error) {
    if ((error as { code?: number }).code === 404) {
      throw new Error(`There is no queue '${name}' at ${broker.name}`);
    }
    // amqplib's words for a lost connection are about channels and frames.
    why = brokerText(error).replace(/^Channel (ended|closed).*/, "the connection was lost");
  }
  throw new Error(`Cannot read '${name}': ${why}`);
}

/** How often a quorum queue has delivered the message before; 0 for a classic queue. */
function deliveryCount({ fields, properties: { headers } }: ConsumeMessage): number {
  return fields.redelivered ? Number(headers?.["x-delivery-count"] ?? 0) : 0;
}

/** The properties of a copy for the same queue: all but what the broker has counted, and where else it has routed the message. */
function renewed({ properties }: ConsumeMessage) {
  const { "x-delivery-count": _, CC: __, ...headers } = properties.headers ?? {};
  const { messageId, timestamp, expiration } = properties;
  return { ...republishable(properties), messageId, timestamp, expiration, headers };
}

/**
 * Reading a queue without taking anything out of it, except what is removed by name.
 * @module
 */
import type { ConsumeMessage, Options, Replies } from "amqplib";
import { type Broker, brokerText } from "./broker.ts";
import { createPublisher } from "./publish.ts";
import { deliveryCount, republishable } from "./retry.ts";
import { pause, within } from "./wait.ts";

/** A queue that is looked at. Dispose it to give back what was read and not removed, each message to its place. */
export interface Reader extends AsyncDisposable {
  /** Its name. */
  readonly name: string;
  /** Messages in it when it was opened, without those that a consumer holds. */
  readonly count: number;
  /** How many consumers it has. */
  readonly consumers: number;
  /** The first `limit` of the messages that were in it when it was opened; ends early when `signal` aborts. */
  read(signal: AbortSignal, limit?: number): AsyncGenerator<ConsumeMessage>;
  /** Takes a message that was read out of the queue. */
  remove(message: ConsumeMessage): void;
}

/**
 * How often a quorum queue may have delivered its first message before all of them are published anew: a look is a delivery, and RabbitMQ drops a
 * message that was delivered more often than the queue's limit, 20 by default in RabbitMQ 4
 * (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling). A client cannot ask for the limit that a policy sets; this keeps to one
 * of 1.
 */
const MOST_DELIVERIES = 1;

/** Bounds of what is asked for at once: enough to hide the round trips, few enough to keep memory flat. */
const BATCH_MESSAGES = 10_000;
const BATCH_BYTES = 16 * 2 ** 20;

/**
 * How many acknowledgements a channel of RabbitMQ passes on to a quorum queue before the first of them is committed (`quorum_commands_soft_limit`, 32);
 * those above wait in the channel, which forgets them when it is closed.
 */
const MOST_UNCOMMITTED = 16;

/**
 * Opens a queue, on a channel of its own, as the broker closes the channel of a question about a queue that does not exist.
 *
 * @param timeout milliseconds that each answer of the broker may take
 * @returns undefined when there is no such queue
 */
export async function openQueue(
  broker: Broker,
  name: string,
  timeout: number,
): Promise<Reader | undefined> {
  async function answered<T>(work: Promise<T>): Promise<T> {
    let why = `${broker.name} does not answer`;
    let code: number | undefined;
    try {
      const answer = await within(timeout, work);
      if (answer !== undefined) return answer;
    } catch (error) {
      // amqplib's words for a lost connection are about channels and frames.
      why = brokerText(error).replace(/^Channel (ended|closed).*/, "the connection was lost");
      code = (error as { code?: number }).code;
    }
    throw Object.assign(new Error(`Cannot read '${name}': ${why}`), { code });
  }

  const channel = await answered(broker.createChannel());
  channel.on("error", () => {}); // whoever waits for an answer gets the same error
  let open = true;
  const closed = new Promise<void>((resolve) => channel.on("close", resolve));
  closed.then(() => open = false);
  let found: Replies.AssertQueue;
  try {
    found = await answered(channel.checkQueue(name));
  } catch (error) {
    if ((error as { code?: number }).code === 404) return undefined;
    throw error;
  }

  /** How many were read and not removed. */
  let held = 0;
  let last: ConsumeMessage | undefined;
  /** Aborts when the user wants to stop. */
  let stopping: AbortSignal;
  // A quorum queue takes back what consumers held in the order of their tags, up to 32 of them.
  const tag = crypto.randomUUID();
  let consumers = 0;

  /**
   * A consumer for each batch, with a prefetch of just the batch: a round trip for many messages where basic.get takes one for each, and
   * what is still held of earlier batches does not count. The queue is empty when it says so: another program may have taken the rest.
   */
  async function next(batch: number): Promise<ConsumeMessage[]> {
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
    held += messages.length;
    last = messages.at(-1);
    return messages;
  }

  async function* messages(signal: AbortSignal, limit: number) {
    let size = 50; // until it is known how long the bodies are
    for (let left = Math.min(limit, found.messageCount); left > 0 && !signal.aborted;) {
      const batch = Math.min(left, size);
      const got = await next(batch);
      left = got.length < batch ? 0 : left - batch;
      let bytes = 1;
      for (const message of got) {
        if (signal.aborted) return;
        bytes += message.content.length;
        yield message;
      }
      size = Math.ceil(Math.min(BATCH_MESSAGES, BATCH_BYTES * batch / bytes));
    }
  }

  /** Acknowledged delivery tags above `below`, up to which all are. */
  const acknowledged = new Set<number>();
  let below = 0;
  let fresh: number[] = [];
  let acknowledgements = 0;
  /** Few acknowledgements for many messages: a quorum queue gets those of a channel one after the other, and none any more when it ends. */
  function acknowledge() {
    const tags = fresh;
    fresh = [];
    const before = below;
    while (acknowledged.delete(below + 1)) below++;
    try {
      if (below > before) {
        channel.ack(tagged(below), true);
        acknowledgements++;
      }
      for (const tag of tags) {
        if (tag <= below) continue;
        channel.ack(tagged(tag));
        acknowledgements++;
      }
    } catch {
      // It has closed: they stay, as after a crash.
    }
  }
  function remove({ fields: { deliveryTag } }: ConsumeMessage) {
    if (!open) throw new Error("its channel closed before it could be removed");
    held--;
    acknowledged.add(deliveryTag);
    if (fresh.push(deliveryTag) === 1) queueMicrotask(acknowledge);
  }

  /** Publishes all messages anew, in their order; each is removed when the broker has confirmed its copy. */
  async function renew(first: ConsumeMessage, signal: AbortSignal) {
    await using publisher = await createPublisher(broker, { timeout, signal });
    const underway = new Set<Promise<void>>();
    let failure: unknown;
    async function copy(message: ConsumeMessage) {
      await publisher.ready();
      if (failure) throw failure;
      const confirmed = publisher
        .publish({ routingKey: name, body: message.content, properties: renewed(message) })
        .then(() => remove(message))
        .catch((error) => failure ??= error)
        .finally(() => underway.delete(confirmed));
      underway.add(confirmed);
    }
    await copy(first);
    for await (const message of messages(signal, found.messageCount - 1)) await copy(message);
    await Promise.all(underway);
    if (failure) throw failure;
  }

  /**
   * A quorum queue appends what is given back to what was given back before, and delivers all that first. So all that is needed for everything to
   * be in its place again; not when the user wants to stop.
   */
  async function readAllThatWasRead() {
    if (!last || deliveryCount(last) === 0) return;
    for await (const more of messages(stopping, Infinity)) if (deliveryCount(more) === 0) return;
  }

  /** To subscribe is a command to a quorum queue that is answered when it is committed, and with it all that the channel has passed on before. */
  async function acknowledgementsPassedOn() {
    if (acknowledgements > MOST_UNCOMMITTED) await next(1);
  }

  /** Waits until what was given back counts again, which a quorum queue does not wait for; another consumer may have it. */
  async function counted() {
    const asking = await answered(broker.createChannel());
    asking.on("error", () => {});
    for (const end = Date.now() + 1000; Date.now() < end; await pause(20)) {
      if ((await answered(asking.checkQueue(name))).messageCount >= held) break;
    }
    await asking.close();
  }

  return {
    name,
    count: found.messageCount,
    consumers: found.consumerCount,
    async *read(signal, limit = Infinity) {
      let left = Math.min(limit, found.messageCount);
      stopping = signal;
      for await (const first of messages(signal, 1)) {
        if (deliveryCount(first) >= MOST_DELIVERIES) {
          await renew(first, signal);
        } else {
          left--;
          yield first;
        }
      }
      yield* messages(signal, left);
    },
    remove,
    async [Symbol.asyncDispose]() {
      try {
        await readAllThatWasRead();
        await acknowledgementsPassedOn();
        // Without a question before its end RabbitMQ forgets acknowledgements for quorum queues that it has not passed on yet.
        await answered(channel.checkQueue(name));
        await within(timeout, Promise.race([channel.close(), closed]));
        await counted();
      } catch {
        // It has closed already, and the broker has everything back.
      }
    },
  };
}

/**
 * The properties of a copy for the same queue: all but what the broker has counted, and where else it has routed the message. What is undefined
 * here stays so, where a publisher would add an id and the time.
 */
export function renewed({ properties }: ConsumeMessage): Options.Publish {
  const { "x-delivery-count": _, "x-acquired-count": __, CC: ___, ...headers } =
    properties.headers ?? {};
  const { messageId, timestamp, expiration } = properties;
  return { ...republishable(properties), messageId, timestamp, expiration, headers };
}

/** amqplib reads nothing but the tag. */
function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}

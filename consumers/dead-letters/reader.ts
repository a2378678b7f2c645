/**
 * Reading a queue without taking anything out of it, except what is removed by name.
 * @module
 */
import { type Broker, brokerText, within } from "@event-sink/lib";
import type { ConsumeMessage } from "amqplib";

/** A queue that is looked at. Dispose it to give back what was read and not removed, each message to its place. */
export interface Reader extends AsyncDisposable {
  readonly name: string;
  /** Messages in it when it was opened, without those that a consumer holds. */
  readonly count: number;
  readonly consumers: number;
  /** The first `limit` of the messages that were in it when it was opened; ends early when `signal` aborts. */
  read(signal: AbortSignal, limit?: number): AsyncGenerator<ConsumeMessage>;
  /** Takes a message that was read out of the queue. */
  remove(message: ConsumeMessage): void;
}

/** Bounds of what is asked for at once: enough to hide the round trips, few enough to keep memory flat. */
const BATCH_MESSAGES = 1000;
const BATCH_BYTES = 16 * 2 ** 20;

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
  const closed = new Promise<void>((resolve) => channel.on("close", resolve));
  let found;
  try {
    found = await answered(channel.checkQueue(name));
  } catch (error) {
    if ((error as { code?: number }).code === 404) return undefined;
    throw error;
  }

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
    }));
    let before = -1;
    for (let since = Date.now(); !await within(20, full.promise);) {
      if ((await answered(channel.checkQueue(name))).messageCount === 0) break;
      if (messages.length > before) since = Date.now();
      before = messages.length;
      if (Date.now() - since > timeout) {
        throw new Error(`Cannot read '${name}': another consumer has it for itself`);
      }
    }
    await answered(channel.cancel(consumerTag));
    return messages;
  }

  return {
    name,
    count: found.messageCount,
    consumers: found.consumerCount,
    async *read(signal, limit = Infinity) {
      let size = 50; // until it is known how long the bodies are
      for (let left = Math.min(limit, found.messageCount); left > 0 && !signal.aborted;) {
        const batch = Math.min(left, size);
        const messages = await next(batch);
        left = messages.length < batch ? 0 : left - batch;
        let bytes = 1;
        for (const message of messages) {
          if (signal.aborted) return;
          bytes += message.content.length;
          yield message;
        }
        size = Math.ceil(Math.min(BATCH_MESSAGES, BATCH_BYTES * batch / bytes));
      }
    },
    remove(message) {
      try {
        channel.ack(message);
      } catch {
        throw new Error("its channel closed before it could be removed");
      }
    },
    async [Symbol.asyncDispose]() {
      try {
        // Closing is answered when everything is back in its place; a nack is not answered at all.
        await within(timeout, Promise.race([channel.close(), closed]));
      } catch {
        // It has closed already, and the broker has everything back.
      }
    },
  };
}

/**
 * What a queue has delivered and nobody has looked at yet, bounded in number and in bytes.
 * @module
 */
import type { Channel, ConsumeMessage } from "amqplib";

/** A message, and when it has come. */
export interface Seen {
  raw: ConsumeMessage;
  time: Date;
}

/** A consumer. */
export interface Inbox {
  /** Passes on what comes, in order, and acknowledges what `take` has taken; ends with the first error. */
  passOn(take: (messages: Seen[]) => Promise<void>): Promise<never>;
}

/** Messages that are here at most: enough that in a burst it is not their acknowledgements that the broker waits for while its queue fills. */
const PREFETCH = 8000;

/**
 * Bytes of bodies above which the prefetch is made smaller: it counts messages, whatever their size, and RabbitMQ knows none in bytes
 * (https://www.rabbitmq.com/docs/specification#rules, basic.qos).
 */
const MOST_BYTES = 32 * 2 ** 20;

/** Consumes a queue; resolves when the broker has begun to deliver. */
export async function createInbox(channel: Channel, queue: string): Promise<Inbox> {
  let waiting: Seen[] = [];
  let news = Promise.withResolvers<void>();
  let ended: Error | undefined;
  /** Bodies that are not acknowledged. */
  const held = { count: 0, bytes: 0 };

  function end(error: Error) {
    ended = error;
    news.resolve();
  }
  /**
   * basic.qos, basic.consume: until there is too much, then with half of what it was; after ten times as many messages that were not too much
   * with twice as many.
   */
  async function subscribe(prefetch: number): Promise<void> {
    const tag = crypto.randomUUID();
    let untilMore = prefetch < PREFETCH ? 10 * prefetch : Infinity;
    let full = false;
    let replaced = false;
    async function replace(next: () => number) {
      replaced = true;
      await channel.cancel(tag);
      await subscribe(next());
    }
    await channel.prefetch(prefetch);
    await channel.consume(queue, (raw) => {
      if (!raw) return end(new Error("the broker has ended the consumer"));
      if (full) return channel.nack(raw, false, true); // it comes again, in its place
      waiting.push({ raw, time: new Date() });
      held.count++;
      held.bytes += raw.content.length;
      news.resolve();
      if (replaced) return;
      full = prefetch > 1 && held.count > 1 && held.bytes > MOST_BYTES;
      if (full) replace(() => Math.max(1, Math.min(prefetch, held.count) >> 1)).catch(end);
      else if (--untilMore <= 0) replace(() => Math.min(PREFETCH, 2 * prefetch)).catch(end);
    }, { consumerTag: tag });
  }

  await subscribe(PREFETCH);
  return {
    async passOn(take) {
      while (true) {
        await news.promise;
        if (ended) throw ended;
        news = Promise.withResolvers();
        const messages = waiting;
        waiting = [];
        const last = messages.at(-1);
        if (!last) continue;
        await take(messages);
        channel.ack(last.raw, true); // basic.ack of all up to this one
        held.count -= messages.length;
        for (const { raw } of messages) held.bytes -= raw.content.length;
      }
    },
  };
}

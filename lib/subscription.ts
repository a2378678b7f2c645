/**
 * A consumer on one channel, whose prefetch follows the size of the messages.
 * @module
 */
import type { ConsumeMessage } from "amqplib";
import type { Hand } from "./hand.ts";

/** A consumer. */
export interface Subscription {
  readonly hand: Hand;
  /** Resolves when the broker has begun to deliver. */
  readonly begun: Promise<void>;
  /** Ends deliveries; what is in hand stays there. */
  cancel(): Promise<void>;
}

/** What to do with what comes. */
export interface Deliveries {
  /** Takes a message into the hand. */
  deliver(raw: ConsumeMessage): void;
  /** Gives back a message for which there is no room. */
  refuse(raw: ConsumeMessage): void;
  /** Runs when the broker has ended the consumer. */
  cancelled(): void;
}

/**
 * Bytes of bodies in hand above which no more are taken. A prefetch counts messages, whatever their size, and RabbitMQ knows none in bytes
 * (https://www.rabbitmq.com/docs/specification#rules, basic.qos).
 */
const MOST_BYTES = 32 * 2 ** 20;

/**
 * Consumes a queue. When the bodies in hand are larger than {@linkcode MOST_BYTES} together, the consumer is cancelled until they are half
 * of that. It goes on with a prefetch of as many messages as did fit, which is doubled after every ten times as many.
 */
export function subscribe(
  hand: Hand,
  { queue, prefetch }: { queue: string; prefetch: number },
  { deliver, refuse, cancelled }: Deliveries,
): Subscription {
  const { channel } = hand;
  let tag = "";
  let limit = prefetch;
  let untilMore = Infinity;
  let full = false;
  let stopped = false;
  let changing: Promise<void> | undefined;

  async function begin() {
    await channel.prefetch(limit);
    untilMore = limit < prefetch ? 10 * limit : Infinity;
    ({ consumerTag: tag } = await channel.consume(queue, onMessage));
  }
  function onMessage(raw: ConsumeMessage | null) {
    if (!raw) return cancelled();
    if (full) return refuse(raw);
    deliver(raw);
    if (changing) return;
    full = hand.bytes > MOST_BYTES && hand.size > 1;
    if (full) change(hand.size - 1);
    else if (--untilMore <= 0) change(Math.min(prefetch, 2 * limit));
  }
  function change(next: number) {
    limit = next;
    changing = changed().catch(() => {}) // the channel has closed, and the next one begins anew
      .finally(() => changing = undefined);
  }
  async function changed() {
    await channel.cancel(tag);
    if (full) await hand.below(MOST_BYTES / 2);
    full = false;
    if (!stopped) await begin();
  }

  return {
    hand,
    begun: begin(),
    async cancel() {
      stopped = true;
      if (!changing) await channel.cancel(tag).catch(() => {}); // a channel that has closed consumes no more
      await changing;
    },
  };
}

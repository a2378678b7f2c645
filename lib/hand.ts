/**
 * The messages that a consumer has in hand on one channel, and their acknowledgements.
 * @module
 */
import type { Channel, ConsumeMessage } from "amqplib";
import type { Counter } from "./metrics.ts";

/** What is in hand on one channel. */
export interface Hand {
  readonly channel: Channel;
  /** Whether the channel is open. */
  readonly open: boolean;
  /** Whether the channel closed because its connection did, not for an error of its own. */
  readonly lost: boolean;
  /** Messages in hand. */
  readonly size: number;
  /** Messages that were given back. */
  readonly returned: number;
  /** Bytes of their bodies. */
  readonly bytes: number;
  /** For how many seconds the oldest of them has been in hand. */
  readonly oldest: number;
  /** Takes a message into the hand, until `work` ends, which is told when it began (`performance.now()`). */
  take(raw: ConsumeMessage, work: (since: number) => Promise<void>): void;
  /** Acknowledges a message, once. */
  ack(raw: ConsumeMessage): void;
  /** Gives a message back to its queue, unless it was acknowledged. */
  giveBack(raw: ConsumeMessage): void;
  /** Resolves when at most so many bytes are in hand. */
  below(bytes: number): Promise<void>;
  /** Resolves when nothing is in hand. */
  empty(): Promise<void>;
}

/** What becomes of what was in hand, counted. */
export interface HandCounts {
  acknowledged: Counter;
  requeued: Counter;
}

/** An empty hand for a channel. */
export function createHand(channel: Channel, counts: HandCounts): Hand {
  /** What is at work, the oldest first, and since when. */
  const work = new Map<Promise<void>, number>();
  let bytes = 0;
  let returned = 0;
  let open = true;
  let failed = false;
  channel.on("close", () => open = false);
  channel.on("error", () => failed = true);

  // Delivery tags count from 1 on each channel. Acknowledging up to the last tag below which nothing is in hand takes one
  // frame for many messages (AMQP 0-9-1, basic.ack, field multiple).
  let toAcknowledge: number[] = [];
  const settled = new Set<number>();
  let below = 0;
  function acknowledge() {
    const tags = toAcknowledge;
    toAcknowledge = [];
    if (!open) return; // the broker delivers them again
    while (settled.delete(below + 1)) below++;
    const upTo = tags.reduce((most, tag) => tag <= below ? Math.max(most, tag) : most, 0);
    if (upTo > 0) send(() => channel.ack(tagged(upTo), true));
    for (const tag of tags) {
      if (tag > below) send(() => channel.ack(tagged(tag)));
    }
  }
  function isSettled(tag: number): boolean {
    return tag <= below || settled.has(tag);
  }

  return {
    channel,
    get open() {
      return open;
    },
    get lost() {
      return !open && !failed;
    },
    get size() {
      return work.size;
    },
    get returned() {
      return returned;
    },
    get bytes() {
      return bytes;
    },
    get oldest() {
      const [since] = work.values();
      return since === undefined ? 0 : (performance.now() - since) / 1000;
    },
    take({ content }, handle) {
      bytes += content.length;
      const since = performance.now();
      const handling = handle(since).finally(() => {
        work.delete(handling);
        bytes -= content.length;
      });
      work.set(handling, since);
    },
    ack({ fields: { deliveryTag } }) {
      if (isSettled(deliveryTag)) return;
      settled.add(deliveryTag);
      counts.acknowledged.value++;
      if (toAcknowledge.push(deliveryTag) === 1) queueMicrotask(acknowledge);
    },
    giveBack(raw) {
      if (isSettled(raw.fields.deliveryTag)) return;
      settled.add(raw.fields.deliveryTag);
      returned++;
      counts.requeued.value++;
      send(() => channel.nack(raw, false, true));
    },
    async below(most) {
      while (bytes > most) await Promise.race(work.keys());
    },
    async empty() {
      while (work.size > 0) await Promise.all(work.keys());
    },
  };
}

function send(answer: () => void) {
  try {
    answer();
  } catch (error) {
    // Closing, though not closed yet: the broker delivers the message again.
    if ((error as Error).name !== "IllegalOperationError") throw error;
  }
}

/** amqplib reads nothing but the tag. */
function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}

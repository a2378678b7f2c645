/**
 * How many messages a tap did not see because it was too slow.
 * @module
 */
import { counted, type Log } from "@event-sink/lib";
import type { Channel, Options } from "amqplib";

/** Counts what was dropped from the tap's queue. Dispose it to have the sum said, if there is one. */
export interface Unseen extends Disposable {
  /** Declares what counts, for a new channel; returns how the tap's queue is to be declared for it. */
  declare(channel: Channel): Promise<Options.AssertQueue>;
  /** Looks how many were dropped since the last look, and says so. */
  look(channel: Channel): Promise<void>;
  /** Whether an error is that the user must not count; it will not be tried again then. */
  refused(error: Error): boolean;
}

/** What is counted between two looks at most, and the bytes of these bodies at most: the broker keeps them that long. */
const MOST_COUNTED = 100_000;
const MOST_BYTES = 32 * 2 ** 20;

/**
 * The broker does not tell how many messages a full queue has dropped. But it passes them on to another queue
 * (https://www.rabbitmq.com/docs/dlx: maxlen, expired), and says how many were there when that is emptied.
 *
 * @param averageBytes tells the mean size of a body
 */
export function countUnseen(log: Log, averageBytes: () => number): Unseen {
  let queue: string | undefined;
  let permitted = true;
  let total = 0;
  let least = false;
  let dropping = false;

  async function look(channel: Channel) {
    if (queue === undefined) return;
    const { messageCount: count } = await channel.purgeQueue(queue);
    total += count;
    // It drops, too, when it is full.
    least ||= count >= MOST_COUNTED || count * averageBytes() > MOST_BYTES / 2;
    if (count > 0 && !dropping) {
      log.warn("The tap is slower than what it taps: messages are dropped unseen");
    }
    dropping = count > 0;
  }
  return {
    async declare(channel) {
      if (!permitted) return {};
      ({ queue } = await channel.assertQueue("", {
        exclusive: true,
        durable: false,
        maxLength: MOST_COUNTED,
        arguments: { "x-queue-type": "classic", "x-max-length-bytes": MOST_BYTES },
      }));
      return { deadLetterExchange: "", deadLetterRoutingKey: queue };
    },
    look,
    refused({ message }) {
      if (!permitted || !/exchange 'amq\.default'/.test(message)) return false;
      log.debug(`What is dropped unseen cannot be counted: ${message}`);
      permitted = false;
      queue = undefined;
      return true;
    },
    [Symbol.dispose]() {
      if (total > 0) log.warn(`${least ? "At least " : ""}${counted(total)} dropped unseen`);
    },
  };
}

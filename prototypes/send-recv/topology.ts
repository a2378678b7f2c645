/** One queue, reached through the default exchange. */
import type { Channel } from "@event-sink/lib";

export const queue = "hello";

export function declare(channel: Channel): Promise<unknown> {
  return channel.assertQueue(queue, { durable: true });
}

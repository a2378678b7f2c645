/** One queue that several workers share, reached through the default exchange. */
import type { Channel } from "@event-sink/lib";

export const queue = "task_queue";

export function declare(channel: Channel): Promise<unknown> {
  return channel.assertQueue(queue, { durable: true });
}

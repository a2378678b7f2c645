/** A fanout exchange that copies every message to each queue bound to it. */
import type { Channel } from "@event-sink/lib";

export const exchange = "logs";
export const defaultQueue = "logs.default";

export async function declare(channel: Channel, queue: string): Promise<void> {
  await channel.assertExchange(exchange, "fanout", { durable: true });
  await channel.assertQueue(queue, { durable: true });
  await channel.bindQueue(queue, exchange, "");
}

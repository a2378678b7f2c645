/** The event exchange: a fanout that copies every event to each interested queue. */
import type { Channel } from "@event-sink/lib";

export const exchange = "clowder.metrics";
export const defaultQueue = "event.sink";

export async function declare(channel: Channel, queue: string): Promise<void> {
  await channel.assertExchange(exchange, "fanout", { durable: true });
  await channel.assertQueue(queue, { durable: true });
  await channel.bindQueue(queue, exchange, "");
}

/**
 * One topic exchange, and a queue on it for each service that consumes. Every service declares all of it, so that messages for a service that
 * has not been started yet wait in its queue.
 * @module
 */
import type { Channel } from "@event-sink/lib";

/** The topic exchange. */
export const exchange = "ebs";

/** Holds objects for the distributor. */
export const distributorQueue = "distributor_consume";
/** Holds tasks; all processors share it. */
export const processorQueue = "process_consume";
/** Holds tasks that failed at every attempt. */
export const failedQueue = "process_failed";
/** Holds every event, for statistics. */
export const statisticsQueue = "statistics";

const bindings = [
  [distributorQueue, "objects"],
  [processorQueue, "task-requests"],
  [statisticsQueue, "#"],
] as const;

/** Declares the exchange, the queues and their bindings. */
export async function declare(channel: Channel): Promise<void> {
  await channel.assertExchange(exchange, "topic", { durable: true });
  for (const [queue, key] of bindings) {
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, exchange, key);
  }
}

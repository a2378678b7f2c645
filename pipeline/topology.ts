/**
 * One topic exchange; each service has a queue on it. Everybody declares all of it: what one service publishes waits for another one that
 * has not been started yet.
 * @module
 */
import type { Channel } from "@event-sink/lib";

export const exchange = "ebs";

/** Consumes objects, publishes tasks. */
export const distributorQueue = "distributor_consume";
/** Consumes tasks; shared by all processors. */
export const processorQueue = "process_consume";
/** Where tasks end that failed at every attempt. */
export const failedQueue = "process_failed";
/** Consumes everything. */
export const statisticsQueue = "statistics";

const bindings = [
  [distributorQueue, "objects"],
  [processorQueue, "task-requests"],
  [statisticsQueue, "#"],
] as const;

export async function declare(channel: Channel): Promise<void> {
  await channel.assertExchange(exchange, "topic", { durable: true });
  for (const [queue, key] of bindings) {
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, exchange, key);
  }
}

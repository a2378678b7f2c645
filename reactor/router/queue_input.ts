/**
 * The router's inputs of AMQP: queues of other systems.
 * @module
 */
import {
  BadMessage,
  type Broker,
  type Channel,
  consume,
  currentTrace,
  tracing,
} from "@event-sink/lib";
import type { AmqpFeed } from "../config.ts";
import { parseHead } from "../event.ts";
import type { Stream } from "./stream.ts";

/**
 * Feeds the stream from a queue until `signal` aborts. A message is acknowledged when its event is published; one that is no event is
 * dead-lettered.
 *
 * @throws when the broker refuses what is asked of it
 */
export async function feedFromQueue(
  broker: Broker,
  feed: AmqpFeed,
  stream: Stream,
  signal: AbortSignal,
): Promise<void> {
  const { queue_name: queue } = feed;
  await consume(broker, {
    queue,
    declare: (channel) => declare(broker, channel, feed),
    prefetch: 2000,
    signal,
  }, async ({ body, properties }) => {
    const trace = currentTrace(properties.headers);
    let head: string;
    try {
      head = parseHead(body, feed, () => trace);
    } catch (error) {
      throw new BadMessage((error as Error).message);
    }
    await stream.accept(head, tracing ? trace : undefined);
  });
}

/**
 * Declares queue and exchanges where they are missing. Those that are there are used as they are: other programs may have declared them with other
 * arguments, and a declaration that differs would be an error (406).
 */
async function declare(broker: Broker, channel: Channel, feed: AmqpFeed) {
  const { queue_name: queue, bindings, routing_key, exchange_type } = feed;
  if (!await exists(broker, (probe) => probe.checkQueue(queue))) {
    await channel.assertQueue(queue, { durable: true });
  }
  for (const exchange of bindings) {
    if (!await exists(broker, (probe) => probe.checkExchange(exchange))) {
      await channel.assertExchange(exchange, exchange_type, { durable: true });
    }
    await channel.bindQueue(queue, exchange, routing_key);
  }
}

async function exists(broker: Broker, check: (channel: Channel) => Promise<unknown>) {
  const probe = await broker.createChannel();
  probe.on("error", () => {}); // the check fails with the same error
  try {
    await check(probe);
    await probe.close();
    return true;
  } catch (error) {
    if ((error as { code?: number }).code !== 404) throw error;
    return false;
  }
}

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message to the queue hello.
 *
 * Run: `deno task send "hello"`, or `deno task send --file events.ndjson`.
 * @module
 */
import { send } from "@event-sink/lib";

const queue = "hello";

await send(import.meta, {
  about: "Send a message to the queue hello.",
  async declare(channel) {
    await channel.assertQueue(queue, { durable: true }); // queue.declare: both sides do it, so that either may start first
  },
}, async (publisher, content) => {
  // basic.publish to the default exchange, which routes to the queue that the routing key names; ends with the broker's confirm.
  await publisher.publish({ ...content, exchange: "", routingKey: queue });
});

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
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
    // queue.declare: sender and receiver both do it, so that either may start first.
    await channel.assertQueue(queue, { durable: true });
  },
}, async (publisher, content) => {
  // basic.publish: the default exchange, "", routes to the queue that the routing key names.
  // The promise resolves when the broker has confirmed the message, and not before.
  await publisher.publish({ ...content, exchange: "", routingKey: queue });
});

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message to the direct exchange direct_logs; its first word is its routing key.
 *
 * Run: `deno task send error "disk full"`, or `deno task send --file app.log` with a key at the start of every line.
 * @module
 */
import { send, UsageError } from "@event-sink/lib";

await send(import.meta, {
  about: "Send a message to the direct exchange direct_logs; its first word is its routing key.",
  async declare(channel) {
    await channel.assertExchange("direct_logs", "direct", { durable: true }); // exchange.declare
  },
}, async (publisher, { properties, ...content }, { words, flags }) => {
  const body = content.body as Uint8Array;
  const end = body.indexOf(0x20); // the first space
  if (end < 1 || (words.length === 0 && flags.file === "")) {
    throw new UsageError(`expected a routing key and a text, such as: error "disk full"`);
  }
  const routingKey = new TextDecoder().decode(body.subarray(0, end));
  // basic.publish; the broker returns what no queue is bound for (mandatory), and confirms what is in a queue.
  const exchange = "direct_logs";
  await publisher.publish({ exchange, routingKey, body: body.subarray(end + 1), properties });
});

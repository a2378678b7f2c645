#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send a message to the topic exchange topic_logs; its first word is its routing key, words between dots.
 *
 * Run: `deno task send kern.critical "disk full"`, or `deno task send --file app.log` with a key at the start of every line.
 * @module
 */
import { send, UsageError } from "@event-sink/lib";

await send(import.meta, {
  about: "Send a message to the topic exchange topic_logs; its first word is its routing key.",
  async declare(channel) {
    await channel.assertExchange("topic_logs", "topic", { durable: true }); // exchange.declare
  },
}, async (publisher, { properties, ...content }, { words, flags }) => {
  const body = content.body as Uint8Array;
  const end = body.indexOf(0x20); // the first space
  if (end < 1 || (words.length === 0 && flags.file === "")) {
    throw new UsageError(`expected a routing key and a text, such as: kern.critical "disk full"`);
  }
  const routingKey = new TextDecoder().decode(body.subarray(0, end));
  // basic.publish; a key is never a pattern: * and # mean something in a binding only.
  const exchange = "topic_logs";
  await publisher.publish({ exchange, routingKey, body: body.subarray(end + 1), properties });
});

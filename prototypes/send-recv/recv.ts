#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL
/**
 * Print every message of the queue hello.
 *
 * Run: `deno task recv` in one terminal, `deno task send "hello"` in another.
 * @module
 */
import { recv } from "@event-sink/lib";

await recv(import.meta, {
  about: "Print every message of the queue hello.",
  queue: "hello",
  async declare(channel, queue) {
    await channel.assertQueue(queue, { durable: true }); // queue.declare
  },
  prefetch: 1, // basic.qos: one message at a time
}, async (message, { print }) => { // basic.consume, basic.deliver
  await print(` [x] Received '${message.text}'`);
  await print(" [x] Done");
  message.ack(); // basic.ack: the broker forgets the message now; a consumer that dies before loses nothing
});

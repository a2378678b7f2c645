#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
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
    // queue.declare: creates the queue unless it is there; a durable one outlives a restart of the broker.
    await channel.assertQueue(queue, { durable: true });
  },
  prefetch: 1, // basic.qos: the broker sends no further message before this one is acknowledged
}, async (message, { print }) => { // basic.consume asks for messages, each basic.deliver brings one
  await print(` [x] Received '${message.text}'`);
  await print(" [x] Done");
  // basic.ack: the broker may forget the message. Had this process died before, another one would get it.
  message.ack();
});

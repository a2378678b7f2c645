#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
/**
 * Print the messages of the queue delayed_queue when their time has come.
 *
 * Run: `deno task recv` in one terminal, `deno task send --in 5s "tea is ready"` in another.
 * @module
 */
import { recv } from "@event-sink/lib";

await recv(import.meta, {
  about: "Print the messages of the queue delayed_queue when their time has come.",
  queue: "delayed_queue",
  async declare(channel, queue) {
    await channel.assertQueue(queue, { durable: true }); // queue.declare: the waiting is send's and the broker's
  },
  prefetch: 1, // basic.qos
}, async (message, { print }) => { // basic.consume, basic.deliver
  const late = (Date.now() - Number(message.properties.headers?.due)) / 1000;
  await print(` [x] Received '${message.text}'`);
  await print(Number.isNaN(late) ? " [x] Done" : ` [x] Done, ${late.toFixed(2)} s after its time`);
  message.ack(); // basic.ack
});

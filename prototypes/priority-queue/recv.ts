#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
/**
 * Print the messages of the queue priority_queue, those with the highest priority first.
 *
 * Run: `deno task send --priority 1 "later"`, `deno task send --priority 9 "first"`, and then `deno task recv`.
 * @module
 */
import { numberFlag, pausePerDot, recv } from "@event-sink/lib";

await recv(import.meta, {
  about: "Print the messages of the queue priority_queue, those with the highest priority first.",
  queue: "priority_queue",
  flags: { work: numberFlag("seconds of work per dot in a message", { default: 1 }) },
  async declare(channel, queue) {
    // queue.declare with x-max-priority, the same wherever the queue is declared; a quorum queue would have two priorities only
    const classic = { "x-queue-type": "classic" };
    await channel.assertQueue(queue, { durable: true, maxPriority: 10, arguments: classic });
  },
  prefetch: 1, // basic.qos: a message that has been delivered cannot be overtaken any more
}, async (message, { print, flags, signal }) => { // basic.consume, basic.deliver
  await print(` [x] Received '${message.text}' with priority ${message.properties.priority ?? 0}`);
  await pausePerDot(message.text, flags.work, signal);
  await print(" [x] Done");
  message.ack(); // basic.ack
});

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
/**
 * Print every message of the fanout exchange logs, waiting one second per dot.
 *
 * Run: `deno task recv` and `deno task recv --queue logs.archive` in two terminals, `deno task send "a log line"` in a third.
 * @module
 */
import { numberFlag, pausePerDot, queueFlag, recv } from "@event-sink/lib";

await recv(import.meta, {
  about: "Print every message of the fanout exchange logs, waiting one second per dot.",
  queue: queueFlag("logs.default"),
  flags: { work: numberFlag("seconds of work per dot in a message", { default: 1 }) },
  async declare(channel, queue) {
    await channel.assertExchange("logs", "fanout", { durable: true }); // exchange.declare
    await channel.assertQueue(queue, { durable: true }); // queue.declare
    await channel.bindQueue(queue, "logs", ""); // queue.bind: from now on this queue gets a copy of every message
  },
  prefetch: 1, // basic.qos: receivers that share a queue share it fairly
}, async (message, { print, flags, signal }) => { // basic.consume asks for messages, each basic.deliver brings one
  await print(` [x] Received '${message.text}'`);
  await pausePerDot(message.text, flags.work, signal);
  await print(" [x] Done");
  message.ack(); // basic.ack: for this queue's copy; the other queues have theirs
});

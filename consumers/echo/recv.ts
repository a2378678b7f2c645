#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read
/**
 * Print every event of the exchange clowder.metrics, waiting one second per dot.
 *
 * Run: `deno task recv` in one terminal, `deno task send "hello..."` in another.
 * @module
 */
import { numberFlag, pausePerDot, queueFlag, recv } from "@event-sink/lib";
import { declare, defaultQueue } from "./topology.ts";

await recv(import.meta, {
  about: "Print every event of the exchange clowder.metrics, waiting one second per dot.",
  queue: queueFlag(defaultQueue),
  flags: { work: numberFlag("seconds of work per dot in a message", { default: 1 }) },
  declare,
  prefetch: 1,
}, async (message, { print, flags, signal }) => {
  await print(` [x] Received '${message.text}'`);
  await pausePerDot(message.text, flags.work, signal);
  await print(" [x] Done");
  message.ack();
});

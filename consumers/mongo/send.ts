#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write=.
/**
 * Send an event to every queue of the fanout exchange clowder.metrics.
 *
 * Run: `deno task send "hello..."`, or `deno task send --file events.ndjson`.
 * @module
 */
import { send } from "@event-sink/lib";
import { declare, defaultQueue, exchange } from "./topology.ts";

await send(import.meta, {
  about: "Send an event to every queue of the fanout exchange clowder.metrics.",
  declare: (channel) => declare(channel, defaultQueue),
}, async (publisher, content) => {
  await publisher.publish({ ...content, exchange, routingKey: "" });
});

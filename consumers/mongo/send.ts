#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL --allow-read
/**
 * Send an event to every queue of the fanout exchange clowder.metrics.
 *
 * Run: `deno task send "hello..."`, or `deno task send --file events.ndjson`.
 * @module
 */
import { connectBroker, createPublisher, runTool, sendFlags, sendInput } from "@event-sink/lib";
import { declare, defaultQueue, exchange } from "./topology.ts";

await runTool(import.meta, {
  about: "Send an event to every queue of the fanout exchange clowder.metrics.",
  arguments: "[words...]",
  flags: sendFlags,
}, async (tool) => {
  const { flags, signal, log } = tool;
  const timeout = flags.timeout * 1000;
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log, timeout });
  await using publisher = await createPublisher(broker, {
    declare: (channel) => declare(channel, defaultQueue),
    timeout,
  });
  await sendInput(tool, publisher, { exchange, routingKey: "" });
});

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL --allow-read
/**
 * Send a message to the queue hello.
 *
 * Run: `deno task send "hello"`, or `deno task send --file events.ndjson`.
 * @module
 */
import { connectBroker, createPublisher, runTool, sendFlags, sendInput } from "@event-sink/lib";
import { declare, queue } from "./topology.ts";

await runTool(import.meta, {
  about: "Send a message to the queue hello.",
  arguments: "[words...]",
  flags: sendFlags,
}, async (tool) => {
  const { flags, signal, log } = tool;
  const timeout = flags.timeout * 1000;
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log, timeout });
  await using publisher = await createPublisher(broker, { declare, timeout });
  await sendInput(tool, publisher, { routingKey: queue });
});

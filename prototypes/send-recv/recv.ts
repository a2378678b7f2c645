#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL
/**
 * Print every message of the queue hello.
 *
 * Run: `deno task recv` in one terminal, `deno task send "hello"` in another.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  consume,
  deadLetterQueue,
  runTool,
  shown,
} from "@event-sink/lib";
import { declare, queue } from "./topology.ts";

await runTool(import.meta, {
  about: "Print every message of the queue hello.",
  notes: `Dead-letter queue: ${deadLetterQueue(queue)}`,
  flags: { amqpUrl: amqpUrlFlag },
}, async ({ flags, signal, log, print }) => {
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
  const ready = () => print(" [*] Waiting for messages. To exit press CTRL+C");
  await consume(broker, { queue, declare, signal, ready }, async ({ body }) => {
    await print(` [x] Received '${shown(body)}'`);
    await print(" [x] Done");
  });
});

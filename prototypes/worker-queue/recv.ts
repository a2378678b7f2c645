#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL
/**
 * Work on the tasks of the queue task_queue, one second per dot; several workers share it.
 *
 * Run: `deno task recv` in two terminals, `deno task send "a task..."` in a third.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  consume,
  deadLetterQueue,
  numberFlag,
  pausePerDot,
  runTool,
  shown,
} from "@event-sink/lib";
import { declare, queue } from "./topology.ts";

await runTool(import.meta, {
  about: "Work on the tasks of the queue task_queue, one second per dot; several workers share it.",
  notes: `Dead-letter queue: ${deadLetterQueue(queue)}`,
  flags: {
    amqpUrl: amqpUrlFlag,
    work: numberFlag("seconds of work per dot in a message", { default: 1 }),
  },
}, async ({ flags, signal, log, print }) => {
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
  const ready = () => print(" [*] Waiting for messages. To exit press CTRL+C");
  await consume(broker, { queue, declare, signal, ready }, async ({ body }) => {
    const text = shown(body);
    await print(` [x] Received '${text}'`);
    await pausePerDot(text, flags.work, signal);
    await print(" [x] Done");
  });
});

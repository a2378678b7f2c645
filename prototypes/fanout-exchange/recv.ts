#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL
/**
 * Print every message of the fanout exchange logs, waiting one second per dot.
 *
 * Run: `deno task recv` and `deno task recv --queue logs.archive` in two terminals, `deno task send "a log line"` in a third.
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
  textFlag,
} from "@event-sink/lib";
import { declare, defaultQueue } from "./topology.ts";

await runTool(import.meta, {
  about: "Print every message of the fanout exchange logs, waiting one second per dot.",
  notes: `Dead-letter queue: ${deadLetterQueue("<queue>")}, such as ${
    deadLetterQueue(defaultQueue)
  }`,
  flags: {
    amqpUrl: amqpUrlFlag,
    queue: textFlag("queue to consume from, bound to the exchange; each queue gets every message", {
      value: "NAME",
      default: defaultQueue,
    }),
    work: numberFlag("seconds of work per dot in a message", { default: 1 }),
  },
}, async ({ flags, signal, log, print }) => {
  const { queue } = flags;
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
  const ready = () => print(" [*] Waiting for messages. To exit press CTRL+C");
  await consume(broker, {
    queue,
    declare: (channel) => declare(channel, queue),
    signal,
    ready,
  }, async ({ body }) => {
    const text = shown(body);
    await print(` [x] Received '${text}'`);
    await pausePerDot(text, flags.work, signal);
    await print(" [x] Done");
  });
});

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write
/**
 * Keep a copy of admin's products, up to date by its events, and take likes.
 *
 * Run: `deno task service`, then open http://127.0.0.1:8011.
 * @module
 */
import {
  brokerFlags,
  connectBroker,
  consume,
  deadLetterQueue,
  runTool,
  switchFlag,
  textFlag,
} from "@event-sink/lib";
import { messageOf, productEventOf } from "./event.ts";
import { createLive, httpFlags, serve } from "@event-sink/lib/http";
import { feedbackQueue, queueFlag } from "./queues.ts";
import { serviceApi } from "./service/api.ts";
import { openServiceStore } from "./service/store.ts";
import { measureOutbox, patience, publishOutbox } from "@event-sink/lib/outbox";

await runTool(import.meta, {
  longRunning: true,
  about: "Keep a copy of admin's products, up to date by its events, and take likes.",
  notes: `Dead-letter queue: ${deadLetterQueue("<queue>")}, such as ${
    deadLetterQueue(queueFlag.default)
  }
A page at /, the HTTP interface in /openapi.json, the events in /asyncapi.json`,
  flags: {
    ...brokerFlags,
    ...httpFlags(8011),
    database: textFlag("SQLite file that keeps the copy and unpublished likes", {
      value: "FILE",
      default: "service.db",
    }),
    queue: queueFlag,
    rebuild: switchFlag("empty the copy at the start, and ask admin for everything"),
  },
}, async ({ flags, signal, fail, log, print }) => {
  using store = openServiceStore(flags.database);
  using _size = measureOutbox(store.outbox);
  if (flags.rebuild) await store.rebuild();
  const live = createLive(signal);
  const patiently = patience({ signal, log });
  const feedback = feedbackQueue(flags.queue);

  async function work() {
    await using broker = await connectBroker({ ...flags, signal, log });
    const publishing = publishOutbox(broker, store.outbox, {
      messageOf: (event) => messageOf(event, feedback),
      declare: (channel) => channel.assertQueue(feedback, { durable: true }),
      signal,
      log,
    });
    const consuming = consume(broker, {
      queue: flags.queue,
      declare: (channel) => channel.assertQueue(flags.queue, { durable: true }),
      prefetch: 100,
      signal,
    }, async (message) => {
      const event = productEventOf(message);
      if (!await patiently(() => store.apply(event))) return;
      live.tell("message", {
        type: event.type,
        id: "product" in event ? event.product.id : event.id,
      });
    });
    for (const ending of [publishing, consuming]) ending.catch(fail);
    await Promise.all([publishing, consuming]);
  }
  const working = work().catch(fail);
  await serve(serviceApi(store, live, flags, log), {
    ...flags,
    signal,
    log,
    listening: (url) => print(` [*] Listening on ${url}. To exit press CTRL+C`),
  });
  await working;
});

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write
/**
 * Keep products, and tell every change of them. While the broker is away the events wait in the database.
 *
 * Run: `deno task admin`, then open http://127.0.0.1:8010.
 * @module
 */
import {
  aborted,
  BadMessage,
  brokerFlags,
  connectBroker,
  consume,
  deadLetterQueue,
  pause,
  runTool,
  textFlag,
} from "@event-sink/lib";
import { adminApi } from "./admin/api.ts";
import { type AdminStore, openAdminStore } from "./admin/store.ts";
import { feedbackOf, messageOf } from "./event.ts";
import { createLive, httpFlags, serve } from "@event-sink/lib/http";
import { feedbackQueue, queueFlag } from "./queues.ts";
import { measureOutbox, patience, publishOutbox } from "@event-sink/lib/outbox";

await runTool(import.meta, {
  longRunning: true,
  about: "Keep products, and tell every change of them.",
  notes: `Likes and requests come from ${feedbackQueue("<queue>")}. Dead-letter queue: ${
    deadLetterQueue(feedbackQueue("<queue>"))
  }, such as ${deadLetterQueue(feedbackQueue(queueFlag.default))}
A page at /, the HTTP interface in /openapi.json, the events in /asyncapi.json`,
  flags: {
    ...brokerFlags,
    ...httpFlags(8010),
    database: textFlag("SQLite file that keeps products and unpublished events", {
      value: "FILE",
      default: "admin.db",
    }),
    queue: queueFlag,
  },
}, async ({ flags, signal, fail, log, print }) => {
  using store = openAdminStore(flags.database);
  using _size = measureOutbox(store.outbox);
  const live = createLive(signal);
  const feedback = feedbackQueue(flags.queue);
  const requested = new EventTarget();
  const patiently = patience({ signal, log });

  async function work() {
    await using broker = await connectBroker({ ...flags, signal, log });
    const publishing = publishOutbox(broker, store.outbox, {
      messageOf: (event) => messageOf(event, flags.queue),
      declare: (channel) => channel.assertQueue(flags.queue, { durable: true }),
      signal,
      log,
    });
    const consuming = consume(broker, {
      queue: feedback,
      declare: (channel) => channel.assertQueue(feedback, { durable: true }),
      prefetch: 20,
      signal,
    }, async (message) => {
      const event = feedbackOf(message);
      if (event.type === "products_requested") {
        await patiently(store.tellEverything);
        requested.dispatchEvent(new Event("requested"));
        return;
      }
      const { headers } = message.properties;
      const product = await patiently(() => store.like(event.product, event.user, headers));
      if (product === null) throw new BadMessage(`there was never a product ${event.product}`);
      if (product) live.tell("message", { type: "product_liked", id: product.id });
    });
    for (const ending of [publishing, consuming]) ending.catch(fail);
    await Promise.all([publishing, consuming]);
  }
  const working = [work(), tellOnRequest(store, requested, patiently, signal)]
    .map((ending) => ending.catch(fail));
  await serve(adminApi(store, live, flags, log), {
    ...flags,
    signal,
    log,
    listening: (url) => print(` [*] Listening on ${url}. To exit press CTRL+C`),
  });
  await Promise.all(working);
});

/** Tells everything when it is asked for, in the background: no faster than the broker takes it, so that the outbox stays small. */
async function tellOnRequest(
  store: AdminStore,
  requested: EventTarget,
  patiently: ReturnType<typeof patience>,
  signal: AbortSignal,
) {
  const stopped = aborted(signal);
  while (!signal.aborted) {
    if (await patiently(store.outbox.size) > 1000) {
      await pause(50, signal);
      continue;
    }
    const next = new Promise((resolve) =>
      requested.addEventListener("requested", resolve, { once: true })
    );
    if (!await patiently(store.tellSome)) await Promise.race([next, stopped]);
  }
}

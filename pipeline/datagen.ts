#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL --allow-read --allow-write
/**
 * Make objects over HTTP, store them and publish OBJECT_CREATED on the exchange ebs. While the broker is away the events wait in the
 * database.
 *
 * Run: `deno task datagen`, then `curl -X POST localhost:8000/api/objects`.
 * @module
 */
import { amqpUrlFlag, connectBroker, runTool, textFlag } from "@event-sink/lib";
import { objectApi } from "./datagen/api.ts";
import { openObjectStore } from "./datagen/object_store.ts";
import { type Event, messageOf } from "./event.ts";
import { httpFlags, serve } from "./service/http.ts";
import { publishOutbox } from "./service/outbox.ts";
import { declare } from "./topology.ts";

await runTool(import.meta, {
  about: "Make objects over HTTP, store them and publish OBJECT_CREATED events.",
  notes:
    "POST /api/objects[?count=N] with any JSON body or none, GET /api/objects[?limit=N], GET /api/objects/ID, GET /health",
  flags: {
    amqpUrl: amqpUrlFlag,
    ...httpFlags(8000),
    database: textFlag("SQLite file that keeps objects and unpublished events", {
      value: "FILE",
      default: "objects.db",
    }),
  },
}, async ({ flags, log, print, ...tool }) => {
  const failure = new AbortController();
  const signal = AbortSignal.any([tool.signal, failure.signal]);
  using store = openObjectStore(flags.database);

  async function publish() {
    await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
    await publishOutbox(broker, store.outbox, {
      messageOf: (event) => messageOf(JSON.parse(event) as Event),
      declare,
      signal,
      log,
    });
  }
  const publishing = publish().catch((error) => failure.abort(error));
  await serve(objectApi(store, log), {
    ...flags,
    signal,
    listening: (url) => print(` [*] Listening on ${url}. To exit press CTRL+C`),
  });
  await publishing;
  if (!tool.signal.aborted) failure.signal.throwIfAborted();
});

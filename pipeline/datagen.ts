#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write
/**
 * Make objects over HTTP, store them and publish OBJECT_CREATED on the exchange ebs. While the broker is away the events wait in the
 * database.
 *
 * It may read and write everywhere, as `--database` names any file.
 *
 * Run: `deno task datagen`, then `curl -X POST localhost:8000/api/objects`.
 * @module
 */
import { type Broker, brokerFlags, connectBroker, runTool, textFlag, watch } from "@event-sink/lib";
import { objectApi } from "./datagen/api.ts";
import { openObjectStore } from "./datagen/object_store.ts";
import { storedMessage } from "./event.ts";
import { httpFlags, serve } from "@event-sink/lib/http";
import { measureOutbox, publishOutbox } from "@event-sink/lib/outbox";
import { declare } from "./topology.ts";

await runTool(import.meta, {
  longRunning: true,
  about: "Make objects over HTTP, store them and publish OBJECT_CREATED events.",
  notes:
    "POST /api/objects[?count=N] with any JSON body or none, GET /api/objects[?limit=N][&after=ID], GET /api/objects/ID, GET /health, /healthz, /readyz, /metrics (Prometheus)",
  flags: {
    ...brokerFlags,
    ...httpFlags(8000),
    database: textFlag("SQLite file that keeps objects and unpublished events", {
      value: "FILE",
      default: "objects.db",
    }),
  },
}, async ({ flags, signal, fail, log, print }) => {
  using store = openObjectStore(flags.database);
  using _size = measureOutbox(store.outbox);
  using _part = watch({ name: "datagen", works: true, trouble: () => undefined });
  let broker: Broker | undefined;
  const brokerTrouble = () => broker ? broker.trouble : "not connected yet";

  async function publish() {
    await using connection = broker = await connectBroker({ ...flags, signal, log });
    await publishOutbox(connection, store.outbox, {
      messageOf: storedMessage,
      declare,
      signal,
      log,
    });
  }
  const publishing = publish().catch(fail);
  await serve(objectApi({ store, brokerTrouble, http: flags, log }), {
    ...flags,
    signal,
    log,
    listening: (url) => print(` [*] Listening on ${url}. To exit press CTRL+C`),
  });
  await publishing;
});

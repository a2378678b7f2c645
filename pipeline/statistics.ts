#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-read --allow-write
/**
 * Count what happens in the pipeline, exactly, and show it. It may read and write everywhere, as `--database` names any file.
 *
 * Run: `deno task statistics`, and `watch -n .5 'sqlite3 stats.db "select * from statistics"'`.
 * @module
 */
import {
  type Broker,
  brokerFlags,
  connectBroker,
  consume,
  currentTrace,
  deadLetterQueue,
  inSpan,
  runTool,
  textFlag,
  type Traced,
} from "@event-sink/lib";
import { type Event, eventOf, eventTypes, inTraceOf } from "./event.ts";
import { httpFlags, serve } from "@event-sink/lib/http";
import { patience } from "@event-sink/lib/outbox";
import { cachedByCost, statisticsApi } from "./statistics/api.ts";
import { serveMetrics } from "./statistics/metrics.ts";
import { openStatisticsStore } from "./statistics/store.ts";
import { declare, statisticsQueue } from "./topology.ts";

/** Milliseconds that an event waits for others, so that one commit stores them all. */
const COLLECT_FOR = 10;

await runTool(import.meta, {
  longRunning: true,
  about: "Count the objects and tasks of the pipeline, and measure their times.",
  notes: `Queue: ${statisticsQueue}. Dead-letter queue: ${deadLetterQueue(statisticsQueue)}
With --port: a page at /, GET /api/statistics, /healthz, /readyz, /metrics (Prometheus)`,
  flags: {
    ...brokerFlags,
    ...httpFlags(0),
    port: {
      ...httpFlags(0).port,
      about: "port of the page, 0 for any free one; no page when not given",
      default: undefined as number | undefined,
    },
    database: textFlag("SQLite file that keeps the numbers", {
      value: "FILE",
      default: "stats.db",
    }),
  },
}, async ({ flags, signal, fail, log, print }) => {
  using store = openStatisticsStore(flags.database);
  let broker: Broker | undefined;
  const brokerTrouble = () => broker ? broker.trouble : "not connected yet";
  const read = cachedByCost(() => store.read());
  const observe = serveMetrics(read);
  const patiently = patience({ signal, log });
  const addEvent = batched(async (events, causes) => {
    const attributes = { "messaging.batch.message_count": events.length };
    const stored = await inSpan(
      "store events",
      { causes, attributes },
      () => patiently(() => store.add(events)),
    );
    stored.forEach(observe);
  });

  async function consumeAll() {
    await using connection = broker = await connectBroker({ ...flags, signal, log });
    await consume(connection, {
      queue: statisticsQueue,
      declare,
      prefetch: 1000,
      signal,
      ready: () => print(" [*] Counting events. To exit press CTRL+C"),
    }, (message) => {
      const event = eventOf(message, eventTypes);
      return inTraceOf(event, message, () => addEvent(event));
    });
  }
  const consuming = consumeAll().catch(fail);
  if (flags.port !== undefined) {
    const http = { host: flags.host, allowedHost: flags.allowedHost };
    const api = { store, read, brokerTrouble, signal, http, log };
    await serve(statisticsApi(api), {
      host: flags.host,
      port: flags.port,
      signal,
      log,
      listening: (url) => print(` [*] The page is at ${url}`),
    });
  }
  await consuming;
});

/** Returns what hands an event to `add`, together with others; resolves when that has stored them. */
function batched(
  add: (events: Event[], causes: Traced[]) => Promise<void>,
): (event: Event) => Promise<void> {
  let events: Event[] = [];
  let causes: Traced[] = [];
  let stored = Promise.withResolvers<void>();

  function write() {
    add(events, causes).then(stored.resolve, stored.reject);
    events = [];
    causes = [];
    stored = Promise.withResolvers();
  }
  return (event) => {
    causes.push(currentTrace());
    if (events.push(event) === 1) setTimeout(write, COLLECT_FOR);
    return stored.promise;
  };
}

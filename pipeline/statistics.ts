#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL --allow-read --allow-write
/**
 * Count what happens in the pipeline, exactly, and show it.
 *
 * Run: `deno task statistics`, and `watch -n .5 'sqlite3 stats.db "select * from statistics"'`.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  consume,
  deadLetterQueue,
  runTool,
  textFlag,
} from "@event-sink/lib";
import { type Event, eventOf, eventTypes } from "./event.ts";
import { httpFlags, serve } from "./service/http.ts";
import { statisticsApi } from "./statistics/api.ts";
import { openStatisticsStore, type StatisticsStore } from "./statistics/store.ts";
import { declare, statisticsQueue } from "./topology.ts";
import { traced } from "./trace.ts";

/** Milliseconds that an event waits for others, so that one commit stores them all. */
const COLLECT_FOR = 10;

await runTool(import.meta, {
  about: "Count the objects and tasks of the pipeline, and measure their times.",
  notes: `Queue: ${statisticsQueue}. Dead-letter queue: ${deadLetterQueue(statisticsQueue)}
With --port: a page at /, GET /api/statistics, GET /metrics (Prometheus)`,
  flags: {
    amqpUrl: amqpUrlFlag,
    host: httpFlags(0).host,
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
}, async ({ flags, log, print, ...tool }) => {
  const failure = new AbortController();
  const signal = AbortSignal.any([tool.signal, failure.signal]);
  using store = openStatisticsStore(flags.database);
  const addEvent = batched(store);

  async function consumeAll() {
    await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
    await consume(broker, {
      queue: statisticsQueue,
      declare,
      prefetch: 1000,
      signal,
      ready: () => print(" [*] Counting events. To exit press CTRL+C"),
    }, (message) => {
      const event = eventOf(message, eventTypes);
      return traced("count", event, () => addEvent(event));
    });
  }
  const consuming = consumeAll().catch((error) => failure.abort(error));
  if (flags.port !== undefined) {
    await serve(statisticsApi(store, signal, log), {
      host: flags.host,
      port: flags.port,
      signal,
      listening: (url) => print(` [*] The page is at ${url}`),
    });
  }
  await consuming;
  if (!tool.signal.aborted) failure.signal.throwIfAborted();
});

/** Returns what adds an event to the store, with others in one transaction; resolves when it is stored. */
function batched(store: StatisticsStore): (event: Event) => Promise<void> {
  let events: Event[] = [];
  let stored = Promise.withResolvers<void>();

  function write() {
    const { resolve, reject } = stored;
    try {
      store.add(events);
      resolve();
    } catch (error) {
      reject(error);
    }
    events = [];
    stored = Promise.withResolvers();
  }
  return (event) => {
    if (events.push(event) === 1) setTimeout(write, COLLECT_FOR);
    return stored.promise;
  };
}

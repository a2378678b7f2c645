#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env --allow-read --allow-write
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
import { watchBroker } from "./service/broker_state.ts";
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
  const addEvent = batched(store);
  const broker = watchBroker(log);

  async function consumeAll() {
    await using connection = await connectBroker({ url: flags.amqpUrl, signal, log: broker.log });
    await consume(connection, {
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
  const consuming = consumeAll().catch(fail);
  if (flags.port !== undefined) {
    await serve(statisticsApi({ store, broker: broker.state, signal, http: flags, log }), {
      host: flags.host,
      port: flags.port,
      signal,
      log,
      listening: (url) => print(` [*] The page is at ${url}`),
    });
  }
  await consuming;
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

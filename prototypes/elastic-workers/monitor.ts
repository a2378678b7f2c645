#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL
/**
 * Watch apps: their backlog, and what their workers report; decide how many workers each should have, and ask the scaler for them.
 *
 * Run: `deno task monitor --objective 30 --max 10 --port 8002`.
 * @module
 */
import {
  BadMessage,
  brokerFlags,
  connectBroker,
  consume,
  counted,
  createPublisher,
  deadLetterQueue,
  numberFlag,
  runTool,
  textFlag,
  UsageError,
  watch as watchHealth,
} from "@event-sink/lib";
import { httpFlags, serve } from "@event-sink/lib/http";
import { reportOf, scaleMessage, startedOf } from "./message.ts";
import { monitorApi, NO_BROKER } from "./monitor/api.ts";
import { createApps, TooManyApps } from "./monitor/apps.ts";
import { queueLook } from "./monitor/look.ts";
import {
  appIdFlag,
  parseAppId,
  reportQueueFlag,
  scaleQueueFlag,
  startedQueue,
  uploadQueue,
  uploadQueueFlag,
} from "./topology.ts";

/** Milliseconds that what nobody has read of the workers' beginnings is kept: then it tells nothing any more. */
const STARTED_TTL = 60_000;
/** Milliseconds after which their queue goes when no monitor reads it. */
const STARTED_EXPIRES = 600_000;

await runTool(import.meta, {
  longRunning: true,
  about: "Watch apps, decide how many workers each should have, and ask the scaler for them.",
  notes: `Dead-letter queue: ${deadLetterQueue("<report queue>")}, such as ${
    deadLetterQueue("DSTREPORT")
  } and ${deadLetterQueue(startedQueue("DSTREPORT"))}
With --port: a page at /, GET /api/apps, GET /api/apps/ID, /healthz, /readyz, /metrics (Prometheus)`,
  flags: {
    ...brokerFlags,
    appId: textFlag("apps to watch from the start, separated by commas; others when they report", {
      value: "IDS",
      default: appIdFlag.default,
      parse: (text) => text.split(",").map(parseAppId).join(","),
    }),
    uploadQueuename: uploadQueueFlag,
    reportQueuename: reportQueueFlag,
    scaleQueuename: scaleQueueFlag,
    objective: numberFlag("response time in seconds that 95 % should stay below", {
      default: 30,
      min: 0.1,
      max: 86_400,
    }),
    min: numberFlag("fewest workers of an app", { default: 1, max: 10_000, whole: true }),
    max: numberFlag("most workers of an app", { default: 10, min: 1, max: 10_000, whole: true }),
    window: numberFlag("seconds that the measurements look back", {
      default: 60,
      min: 1,
      max: 86_400,
    }),
    shortWindow: numberFlag("seconds that they look back for a burst", {
      default: 10,
      min: 0.5,
      max: 3600,
    }),
    cooldown: numberFlag("seconds after a change before a worker is taken away", {
      default: 30,
      max: 86_400,
    }),
    interval: numberFlag("seconds between two decisions", { default: 1, min: 0.1, max: 60 }),
    ...httpFlags(0),
    port: {
      ...httpFlags(0).port,
      about: "port of the page, 0 for any free one; no page when not given",
      default: undefined as number | undefined,
    },
  },
}, async ({ flags, signal, fail, log, print }) => {
  if (flags.min > flags.max) {
    throw new UsageError(`--min ${flags.min} is above --max ${flags.max}`);
  }
  const { reportQueuename: reports, scaleQueuename: scales } = flags;
  const apps = createApps({ ...flags, log });
  for (const appId of flags.appId.split(",")) apps.watch(appId);
  let lastLook = -Infinity;

  async function watch() {
    await using broker = await connectBroker({ ...flags, signal, log });
    await using publisher = await createPublisher(broker, {
      declare: (channel) => channel.assertQueue(scales, { durable: true }),
      signal,
    });
    let shared = false;
    /** Reports that had waited for us. */
    let past = 0;
    const consumingReports = consume(broker, {
      queue: reports,
      async declare(channel) {
        past = (await channel.assertQueue(reports, { durable: true })).messageCount;
      },
      prefetch: 100,
      signal,
      ready: () => print(" [*] Waiting for reports. To exit press CTRL+C"),
    }, (message) => {
      const isPast = past > 0;
      if (isPast) past--;
      const report = reportOf(message);
      const id = `${message.properties.messageId ?? crypto.randomUUID()}`;
      known(() => apps.reported(report, id, isPast));
    });
    const consumingStarts = consume(broker, {
      queue: startedQueue(reports),
      declare: (channel) =>
        channel.assertQueue(startedQueue(reports), {
          durable: true,
          messageTtl: STARTED_TTL,
          expires: STARTED_EXPIRES,
        }),
      prefetch: 100,
      signal,
    }, (message) => {
      const { app_id, worker } = startedOf(message);
      known(() => apps.started(app_id, `${message.properties.messageId}`, worker));
    });
    const looking = queueLook(broker, {
      interval: flags.interval * 1000,
      signal,
      async look(inspect) {
        for (const appId of apps.ids()) {
          const seen = await inspect(uploadQueue(flags.uploadQueuename, appId));
          const asked = seen ? apps.decide(appId, seen) : apps.lost(appId);
          if (!asked) continue;
          publisher.publish(scaleMessage(asked, scales, 3 * apps.REPEAT))
            .catch((error) => signal.aborted || log.warn(error.message));
          if (asked.changed) {
            await print(
              ` [x] ${appId}: ${
                counted(asked.workers, "worker")
              }, not ${asked.before}: ${asked.reason}`,
            );
          }
        }
        const readers = (await inspect(reports))?.consumers ?? 0;
        if (readers > 1 && !shared) {
          log.warn(
            `${readers} programs take reports from '${reports}': each monitor sees only a part, and decides wrongly. Give it a queue of its own`,
          );
        }
        shared = readers > 1;
        lastLook = Date.now();
      },
    });
    await Promise.all([consumingReports, consumingStarts, looking]);
  }
  const isReady = () => Date.now() - lastLook < 10_000 + flags.interval * 2000;
  using _part = watchHealth({
    name: "monitor",
    works: true,
    trouble: () => isReady() ? undefined : NO_BROKER,
  });
  const watching = watch().catch(fail);
  if (flags.port !== undefined) {
    const app = monitorApi({ apps, isReady, signal, http: flags, log });
    await serve(app, {
      ...flags,
      port: flags.port,
      signal,
      log,
      listening: (url) => print(` [*] The page is at ${url}`),
    });
  }
  await watching;
});

/** What makes up more apps than there can be is no report. */
function known(act: () => void) {
  try {
    act();
  } catch (error) {
    throw error instanceof TooManyApps ? new BadMessage(error.message) : error;
  }
}

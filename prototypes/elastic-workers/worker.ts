#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL --allow-read --allow-write
/**
 * Do the uploads of an app, one at a time, and report how long each took. Start more of them to do more at a time.
 *
 * Run: `deno task worker --app-id e123456 --upload-time 2-5`.
 * @module
 */
import {
  brokerFlags,
  connectBroker,
  consume,
  createPublisher,
  deadLetterQueue,
  inSpan,
  numberFlag,
  type Outgoing,
  printable,
  runTool,
  switchFlag,
  textFlag,
} from "@event-sink/lib";
import { publishedAt, reportMessage, requestOf, startedMessage } from "./message.ts";
import {
  appIdFlag,
  reportQueueFlag,
  startedQueue,
  uploadQueue,
  uploadQueueFlag,
} from "./topology.ts";
import { parseUploadTimes, simulatedUpload } from "./worker/simulation.ts";
import { transfer } from "./worker/transfer.ts";
import { keepStateFile, stdinEnded } from "./worker/state_file.ts";

await runTool(import.meta, {
  longRunning: true,
  about: "Do the uploads of an app, one at a time, and report how long each took.",
  notes: `Dead-letter queue: ${deadLetterQueue("<app_id>_upload")}, such as ${
    deadLetterQueue("e123456_upload")
  }
SIGTERM: takes no more uploads, finishes the one in hand, exits`,
  flags: {
    ...brokerFlags,
    appId: appIdFlag,
    uploadQueuename: uploadQueueFlag,
    reportQueuename: reportQueueFlag,
    uploadTime: textFlag(
      "seconds that a simulated upload takes, also for each type: video=2-20,pdf=1-3,5-10",
      { value: "MIN-MAX", default: "30-60", parse: (text) => (parseUploadTimes(text), text) },
    ),
    target: textFlag(
      "upload what uri names, in place of the simulation: to this directory, or with PUT below this http(s) URL",
      { value: "DIR", default: "" },
    ),
    source: textFlag("with --target: directory of the files that file: URIs may name", {
      value: "DIR",
      default: "",
    }),
    sizeLimit: numberFlag("with --target: most bytes of a file", { default: 1e9, min: 1 }),
    timeLimit: numberFlag("with --target: most seconds of an upload", {
      default: 600,
      min: 0.1,
      max: 1700,
    }),
    name: textFlag("name of this worker in its reports", {
      default: `worker-${crypto.randomUUID().slice(0, 8)}`,
    }),
    stopLimit: numberFlag("seconds that the upload in hand may take after SIGTERM", {
      default: 1700,
      max: 86_400,
    }),
    stateFile: textFlag(
      "keep the state in this file, locked while the worker lives; it stops when the file is removed",
      { value: "FILE", default: "" },
    ),
    untilStdinEnds: switchFlag("stop when standard input ends, as it does with the parent process"),
  },
  stopLimit: ({ stopLimit }) => stopLimit,
}, async ({ flags, log, print, ...tool }) => {
  const upload = flags.target === ""
    ? simulatedUpload(parseUploadTimes(flags.uploadTime))
    : await transfer(flags);
  const dismissed = new AbortController();
  const signal = AbortSignal.any([tool.signal, dismissed.signal]);
  const dismiss = () => dismissed.abort();
  await using state = await keepStateFile(flags.stateFile, { removed: dismiss });
  if (flags.untilStdinEnds) stdinEnded().then(dismiss);

  const queue = uploadQueue(flags.uploadQueuename, flags.appId);
  await using broker = await connectBroker({ ...flags, signal, log });
  // The upload in hand is reported after the signal, and then the publisher waits no longer: without a connection the request has gone to another
  // worker anyway.
  const last = new AbortController();
  await using publisher = await createPublisher(broker, {
    declare: (channel) => channel.assertQueue(flags.reportQueuename, { durable: true }),
    signal: last.signal,
  });
  async function report(message: Outgoing) {
    const giveUp = () => last.abort(signal.reason);
    const published = publisher.publish(message);
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp);
    await published.finally(() => signal.removeEventListener("abort", giveUp));
  }
  const me = { app_id: flags.appId, worker: flags.name };

  await consume(broker, {
    queue,
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    prefetch: 1, // the next request goes to a worker that is idle
    signal,
    ready: async () => {
      await state.write("idle");
      await print(" [*] Waiting for uploads. To exit press CTRL+C");
    },
  }, async (message) => {
    const taken = Date.now();
    const request = requestOf(message);
    const id = `${message.properties.messageId ?? crypto.randomUUID()}`;
    await state.write("busy");
    publisher.publish(startedMessage(me, id, startedQueue(flags.reportQueuename)))
      .catch((error) => log.debug(`${error}`)); // the monitor counts without it, less exactly
    try {
      await print(` [x] Uploading '${printable(request.uri, 200)}'`);
      await inSpan("upload", {}, () => upload(request));
      const published = publishedAt(message) ?? taken;
      if (published > taken + 1000) {
        log.warn(
          `A request was published ${
            seconds(taken, published)
          } s in the future: the clocks disagree`,
        );
      }
      const times = {
        response_time: seconds(Math.min(published, taken), Date.now()),
        queue_time: seconds(Math.min(published, taken), taken),
        upload_time: seconds(taken, Date.now()),
      };
      const to = { queue: flags.reportQueuename, request: message };
      await report(reportMessage({ ...times, ...me }, id, to));
      await print(
        ` [x] Done in ${times.upload_time} s, ${times.response_time} s after the request`,
      );
    } finally {
      await state.write("idle");
    }
  });
  last.abort(signal.reason);
});

/** From one time to another in milliseconds. */
function seconds(from: number, to: number): number {
  return Math.max(0, Math.round(to - from)) / 1000;
}

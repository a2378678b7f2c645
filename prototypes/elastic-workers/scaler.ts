#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL,KUBERNETES_SERVICE_HOST,KUBERNETES_SERVICE_PORT --allow-read --allow-write --allow-run
/**
 * Start and stop workers as scale requests ask for: child processes, containers, or the replicas of a deployment.
 *
 * Run: `deno task scaler`, or `deno task scaler --driver docker`.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  consume,
  deadLetterQueue,
  numberFlag,
  runTool,
  switchFlag,
  textFlag,
} from "@event-sink/lib";
import { scaleRequestOf } from "./message.ts";
import { createPools, type Driver } from "./scaler/pools.ts";
import { processDriver } from "./scaler/process.ts";
import { declareAsItIs, reportQueueFlag, scaleQueueFlag, uploadQueueFlag } from "./topology.ts";

await runTool(import.meta, {
  about: "Start and stop workers as scale requests ask for.",
  notes: `Dead-letter queue: ${deadLetterQueue("<scale queue>")}
Words after -- are further arguments of every worker: scaler -- --upload-time 2-5`,
  arguments: "[arguments...]",
  flags: {
    amqpUrl: amqpUrlFlag,
    uploadQueuename: uploadQueueFlag,
    reportQueuename: reportQueueFlag,
    scaleQueuename: scaleQueueFlag,
    driver: textFlag("what a worker is: process", {
      value: "NAME",
      default: "process",
      parse: parseDriver,
    }),
    most: numberFlag("workers of an app at most, whatever is asked for", {
      default: 100,
      max: 10_000,
      whole: true,
    }),
    stateDirectory: textFlag("process: directory of the workers' state files", {
      value: "DIR",
      default: ".data/elastic-workers",
    }),
    keepWorkers: switchFlag("process: the workers outlive the scaler, and the next one finds them"),
  },
}, async ({ flags, words, signal, log, print }) => {
  const driver: Driver = await processDriver({
    ...flags,
    directory: flags.stateDirectory,
    arguments: [
      ...["--upload-queuename", flags.uploadQueuename],
      ...["--report-queuename", flags.reportQueuename],
      ...words,
    ],
    log,
  });
  await using pools = createPools(driver, { most: flags.most, signal, log, print });
  await using broker = await connectBroker({ url: flags.amqpUrl, signal, log });
  const declare = declareAsItIs(broker.createChannel, log);
  await consume(broker, {
    queue: flags.scaleQueuename,
    declare: () => declare(flags.scaleQueuename),
    signal,
    ready: () => print(" [*] Waiting for scale requests. To exit press CTRL+C"),
  }, (message) => pools.want(scaleRequestOf(message)));
});

function parseDriver(text: string): string {
  if (text === "process") return text;
  throw new TypeError(`expected process, docker or kubernetes, not '${text}'`);
}

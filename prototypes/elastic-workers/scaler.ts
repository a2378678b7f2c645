#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL,KUBERNETES_SERVICE_HOST,KUBERNETES_SERVICE_PORT --allow-read --allow-write --allow-run
/**
 * Start and stop workers as scale requests ask for: child processes, containers, or the replicas of a deployment.
 *
 * Run: `deno task scaler`, or `deno task scaler --driver docker`.
 * @module
 */
import {
  brokerFlags,
  choiceFlag,
  connectBroker,
  consume,
  deadLetterQueue,
  type Log,
  numberFlag,
  runTool,
  switchFlag,
  textFlag,
  UsageError,
  type Values,
} from "@event-sink/lib";
import { scaleRequestOf } from "./message.ts";
import { dockerDriver } from "./scaler/docker.ts";
import { kubernetesDriver } from "./scaler/kubernetes.ts";
import { createPools, type Driver } from "./scaler/pools.ts";
import { processDriver } from "./scaler/process.ts";
import { reportQueueFlag, scaleQueueFlag, uploadQueueFlag } from "./topology.ts";

const driverFlags = {
  driver: choiceFlag(
    "what a worker is: process, docker or kubernetes",
    ["process", "docker", "kubernetes"],
    { value: "NAME", default: "process" },
  ),
  stateDirectory: textFlag("process: directory of the workers' state files", {
    value: "DIR",
    default: ".data/elastic-workers",
  }),
  image: textFlag("docker: image whose entry point is the worker", {
    value: "NAME",
    default: "<app_id>_worker_container/dst2018:0.1",
  }),
  dockerSocket: textFlag("docker: the daemon's socket", {
    value: "FILE",
    default: "/var/run/docker.sock",
  }),
  network: textFlag("docker: network of the containers", { value: "NAME", default: "bridge" }),
  deployment: textFlag("kubernetes: deployment whose replicas are the workers", {
    value: "NAME",
    default: "<app_id>-worker",
  }),
  serviceAccount: textFlag("kubernetes: directory of token, ca.crt and namespace", {
    value: "DIR",
    default: "/var/run/secrets/kubernetes.io/serviceaccount",
  }),
  keepWorkers: switchFlag("process: the workers outlive the scaler, and the next one finds them"),
};

await runTool(import.meta, {
  longRunning: true,
  about: "Start and stop workers as scale requests ask for.",
  notes: `Dead-letter queue: ${deadLetterQueue("<scale queue>")}, such as ${
    deadLetterQueue("DSTSCALE")
  }
Words after -- are further arguments of every worker: scaler -- --upload-time 2-5`,
  arguments: "[arguments...]",
  flags: {
    ...brokerFlags,
    uploadQueuename: uploadQueueFlag,
    reportQueuename: reportQueueFlag,
    scaleQueuename: scaleQueueFlag,
    most: numberFlag("workers of an app at most, whatever is asked for", {
      default: 100,
      max: 10_000,
      whole: true,
    }),
    ...driverFlags,
  },
}, async ({ flags, words, signal, log, print }) => {
  const args = ["--upload-queuename", flags.uploadQueuename]
    .concat("--report-queuename", flags.reportQueuename)
    .concat(flags.queueType ? ["--queue-type", flags.queueType] : [], words);
  const driver = await createDriver(flags, args, log);
  await using pools = createPools(driver, { most: flags.most, signal, log, print });
  await using broker = await connectBroker({ ...flags, signal, log });
  await consume(broker, {
    queue: flags.scaleQueuename,
    async declare(channel) {
      const { consumerCount } = await channel.assertQueue(flags.scaleQueuename, { durable: true });
      if (consumerCount === 0) return;
      log.warn(
        `Another program takes scale requests from '${flags.scaleQueuename}': two scalers have a pool each for the same app, and hear of half the requests. Give one a queue of its own`,
      );
    },
    signal,
    ready: () => print(" [*] Waiting for scale requests. To exit press CTRL+C"),
  }, (message) => pools.want(scaleRequestOf(message), message.properties.timestamp));
});

function createDriver(
  flags: Values<typeof driverFlags> & { amqpUrl: string },
  args: string[],
  log: Log,
): Driver | Promise<Driver> {
  if (flags.driver === "docker") {
    return dockerDriver({ ...flags, socket: flags.dockerSocket, arguments: args });
  }
  if (flags.driver === "kubernetes") {
    const name = Deno.env.get("KUBERNETES_SERVICE_HOST");
    if (!name) {
      throw new UsageError(
        "--driver kubernetes: this is no pod, KUBERNETES_SERVICE_HOST is not set",
      );
    }
    const host = `${name}:${Deno.env.get("KUBERNETES_SERVICE_PORT") ?? "443"}`;
    return kubernetesDriver({ ...flags, host });
  }
  return processDriver({ ...flags, directory: flags.stateDirectory, arguments: args, log });
}

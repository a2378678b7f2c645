#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-run --allow-read
/**
 * The whole loop at work: a load that steps up and down, workers that follow it, and the embedded broker where AMQP_URL is not set. Times are
 * short, so that a full cycle is seen within two minutes.
 *
 * Run: `deno task elastic` in the repository's root.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  createCrew,
  createPublisher,
  numberFlag,
  pause,
  runTool,
  textFlag,
} from "@event-sink/lib";
import { resolve } from "node:path";
import { requestMessage } from "./message.ts";
import { uploadQueue, uploadQueueFlag } from "./topology.ts";

const here = new URL("./", import.meta.url);
const appId = "e123456";

/** Requests per second, each for so many seconds: an upload takes 2 to 4 s, so 2/s keep 6 workers busy. */
const load = [{ rate: 0.5, seconds: 25 }, { rate: 2.5, seconds: 45 }, { rate: 0.5, seconds: 40 }];

await runTool(import.meta, {
  about: "Show workers that follow a load: publisher, workers, monitor and scaler at work.",
  flags: {
    amqpUrl: { ...amqpUrlFlag, default: "" },
    port: numberFlag("port of the page, 0 for any free one", {
      default: 8002,
      max: 65_535,
      whole: true,
    }),
    data: textFlag("directory where the embedded broker and the workers keep their state", {
      value: "DIR",
      default: ".data/elastic",
    }),
  },
}, async (tool) => {
  const { flags, signal, log, print } = tool;
  await using crew = createCrew(tool, (line) => / WRN /.test(line) && print(line));
  const start = (task: string, args: string[], onLine?: (line: string) => void) =>
    crew.start(task, args, { cwd: here, env: { AMQP_URL: amqpUrl }, onLine });
  const isEmbedded = flags.amqpUrl === "";
  const data = ["--data", resolve(flags.data)];
  const amqpUrl = isEmbedded ? (await crew.startEmbedded(data)).amqpUrl : flags.amqpUrl;
  const monitor = start(
    "monitor",
    [
      ...["--app-id", appId, "--port", `${flags.port}`, "--objective", "8", "--max", "12"],
      ...["--window", "15", "--short-window", "5", "--cooldown", "10"],
    ],
    (line) => line.startsWith(" [x] ") && !signal.aborted && print(line),
  );
  const directory = resolve(flags.data, "workers");
  start("scaler", ["--state-directory", directory, "--", "--upload-time", "2-4"]);
  const url = await monitor.line(" [*] The page is at ");
  await print(`The live page is at ${url}, the same as JSON at ${url}/api/apps/${appId}
95 of 100 uploads are to end within 8 s of their request${
    isEmbedded
      ? `. Other tools find the broker after:
export AMQP_URL=${amqpUrl}`
      : ""
  }
To exit press CTRL+C
`);

  await using broker = await connectBroker({ amqpUrl, signal, log });
  const queue = uploadQueue(uploadQueueFlag.default, appId);
  await using publisher = await createPublisher(broker, {
    declare: (channel) => channel.assertQueue(queue, { durable: true }),
    signal,
  });
  async function publish() {
    while (true) {
      for (const { rate, seconds } of load) {
        await print(` [.] ${rate} requests/s for ${seconds} s`);
        const end = Date.now() + seconds * 1000;
        while (Date.now() < end) {
          const uri = `http://example.org/${crypto.randomUUID().slice(0, 8)}.pdf`;
          await publisher.publish(requestMessage({ type: "pdf", uri }, appId, queue));
          // As people ask, not as a clock ticks: gaps of a Poisson process.
          await pause(-Math.log(1 - Math.random()) / rate * 1000, signal);
        }
      }
    }
  }
  async function tell() {
    while (true) {
      await pause(5000, signal);
      const answer = await fetch(`${url}/api/apps/${appId}`, { signal });
      const state = await answer.json();
      const p95 = state.response_time_p95;
      await print(
        `     ${state.waiting} waiting, ${state.busy} busy, ${state.workers} of ${state.workers_wanted} workers, ` +
          `${state.arrival_rate.toFixed(1)} requests/s, p95 ${
            p95 === null ? "-" : p95.toFixed(1)
          } s`,
      );
    }
  }
  await Promise.all([publish(), tell()]);
});

#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1 --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL --allow-run --allow-read=.
/**
 * The four services at work: starts them, and the embedded stack where AMQP_URL is not set, makes some objects, and shows what becomes of
 * them until Ctrl-C.
 *
 * Run: `deno task pipeline`.
 * @module
 */
import { amqpUrlFlag, createCrew, numberFlag, pause, runTool, textFlag } from "@event-sink/lib";
import { resolve } from "node:path";
import type { Statistics } from "./statistics/store.ts";
import { createScreen } from "./terminal_view.ts";

const here = new URL("./", import.meta.url);

/** Milliseconds between two readings of the numbers, and that one may take. */
const INTERVAL = 500;
const READ_LIMIT = 10_000;

const flags = {
  amqpUrl: { ...amqpUrlFlag, default: "" },
  objects: numberFlag("objects to make at the start", {
    default: 5,
    max: 10_000,
    whole: true,
  }),
  processors: numberFlag("processors to start", { default: 3, min: 1, max: 50, whole: true }),
  work: textFlag("seconds of pretended work per task", { value: "MIN-MAX", default: "3-5" }),
  port: numberFlag("port of datagen, 0 for any free one", {
    default: 8000,
    max: 65_535,
    whole: true,
  }),
  statisticsPort: numberFlag("port of the page, 0 for any free one", {
    default: 8001,
    max: 65_535,
    whole: true,
  }),
  data: textFlag("directory where the embedded stack keeps its state", {
    value: "DIR",
    default: ".data/pipeline",
  }),
  objectsDatabase: textFlag("datagen's SQLite file", { value: "FILE", default: "objects.db" }),
  statisticsDatabase: textFlag("SQLite file of the numbers", {
    value: "FILE",
    default: "stats.db",
  }),
};

await runTool(import.meta, {
  about: "Start the four services of the pipeline and show them at work.",
  flags,
}, async (tool) => {
  const { flags, print, signal } = tool;
  const screen = createScreen({ print });
  await using crew = createCrew(tool, (line) => screen.note(line));
  const start = (task: string, args: string[]) => crew.start(task, args, { cwd: here, env });

  const embedded = flags.amqpUrl
    ? undefined
    : await crew.startEmbedded(["--data", resolve(flags.data)]);
  const env = { AMQP_URL: embedded?.amqpUrl ?? flags.amqpUrl };
  const datagen = start(
    "datagen",
    ["--port", `${flags.port}`, "--database", resolve(flags.objectsDatabase)],
  );
  const statistics = start(
    "statistics",
    ["--port", `${flags.statisticsPort}`, "--database", resolve(flags.statisticsDatabase)],
  );
  start("distributor", []);
  for (let number = 1; number <= flags.processors; number++) {
    start("processor", ["--work", flags.work, "--name", `processor-${number}`]);
  }
  const url = (await datagen.line(" [*] Listening on ")).replace(/\. To exit.*/, "");
  const page = await statistics.line(" [*] The page is at ");
  await print(`Datagen is at ${url}, the live page of the statistics at ${page}
Numbers in a terminal: watch -n .5 'sqlite3 ${flags.statisticsDatabase} "select * from statistics"'
More objects:          curl -X POST '${url}/api/objects?count=5'`);
  if (embedded) {
    await print(`Other tools, such as deno task dead-letters, find the broker after:
export AMQP_URL=${embedded.amqpUrl}`);
  }
  await print("To exit press CTRL+C\n");

  if (flags.objects > 0) {
    await request(`${url}/api/objects?count=${flags.objects}`, { method: "POST", signal });
  }
  while (!signal.aborted) {
    const statistics = await readStatistics(page).catch((error) => {
      signal.throwIfAborted();
      screen.note(`Cannot read the numbers: ${error.message}. Trying again`);
    });
    if (statistics) await screen.show(statistics);
    await pause(INTERVAL, signal);
  }
  signal.throwIfAborted();
});

/** The statistics' service may be busy, or short of connections: that ends nothing. */
async function readStatistics(page: string): Promise<Statistics> {
  const signal = AbortSignal.timeout(READ_LIMIT);
  return await request(`${page}/api/statistics`, { signal }) as Statistics;
}

async function request(url: string, init: RequestInit): Promise<unknown> {
  const response = await fetch(url, init);
  const body = await response.json();
  if (!response.ok) throw new Error(`Cannot use ${url}: ${response.status}: ${body.error}`);
  return body;
}

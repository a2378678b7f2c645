#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=LOG_LEVEL,MONGO_URL,MONGODB_*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL* --allow-run --allow-read
/**
 * The reactor at work: starts router, subscriber and worker with the sample configuration, and the embedded stack where MONGO_URL is not set,
 * fires some events, and shows which handlers ran with which result, until Ctrl-C.
 *
 * Run: `deno task reactor`, and `deno task fire -e zmq.test -d '{"a":1}'` in another terminal.
 * @module
 */
import { fileURLToPath } from "node:url";
import { resolve } from "node:path";
import type { Collection } from "mongodb";
import {
  createCrew,
  type Log,
  mongoUrlFlag,
  pause,
  printable,
  runTool,
  startDeno,
  textFlag,
  throughOutages,
  UsageError,
} from "@event-sink/lib";
import { parseConfig } from "./config.ts";
import { openDatabase } from "./database.ts";
import { isFinal } from "./mongo_errors.ts";
import type { Result } from "./queue/result.ts";

const here = new URL("./", import.meta.url);
const sample = (file: string) => fileURLToPath(new URL(`sample/${file}`, here));

/** Milliseconds between two looks for new results. */
const INTERVAL = 200;

const events = [
  ["zmq.test", { a: 1 }],
  ["disk.root", { used: 0.95 }],
  ["disk.home", { used: 0.4 }],
] as const;

const flags = {
  config: textFlag("configuration file in place of the sample's, for other ports than its", {
    value: "FILE",
    short: "c",
    default: "",
  }),
  mongoUrl: { ...mongoUrlFlag, default: "" },
  data: textFlag("directory where the embedded stack keeps its state", {
    value: "DIR",
    default: ".data/reactor",
  }),
};

await runTool(import.meta, {
  about: "Start router, subscriber and worker with a sample configuration and show them at work.",
  notes: "The configuration is in reactor/sample.",
  flags,
}, async (tool) => {
  const { flags, log, print, signal } = tool;
  await using crew = createCrew(tool, (line, task) => {
    print(`${task}: ${line}`).catch(() => {}); // a closed stdout stops the tool
  });
  const start = (task: string, args: string[]) => crew.start(task, args, { cwd: here, env });

  const file = resolve(flags.config || sample("config.json"));
  const { publisher, requests } = await readAddresses(file);
  const mongoUrl = flags.mongoUrl ||
    (await crew.startEmbedded(["--data", resolve(flags.data)])).mongoUrl;
  const env = { MONGO_URL: mongoUrl };
  const config = ["-c", file];
  const handlers = ["--event-handlers", sample("event-handlers")];
  const router = start("router", config);
  await router.line(" [*] Routing events");
  const filters = ["-e", sample("event-handlers.json")];
  const follows = ["--name", "sample", "-u", publisher];
  const sub = start("sub", [...config, ...handlers, ...filters, ...follows]);
  const worker = start("worker", [...config, ...handlers]);
  await sub.line(" [*] Waiting for events");
  await worker.line(" [*] Waiting for tasks");

  const opened = { ...flags, config: file, mongoUrl };
  await using database = await openDatabase({ flags: opened, signal, log });
  const since = new Date();
  const where = flags.config && ` -u ${requests}`;
  await print(`Router, subscriber and worker are running
Their tasks and results: export MONGO_URL=${mongoUrl}; deno task --cwd reactor tasks list
Fire an event from another terminal: deno task fire${where} -e zmq.test -d '{"a":1}'
To exit press CTRL+C
`);
  for (const [type, payload] of events) {
    const args = ["-u", requests, "-e", type, "-d", JSON.stringify(payload)];
    const fire = startDeno(["task", "fire", ...args], { cwd: here });
    await using _ = fire;
    const last = await fire.ended;
    await print(`fired ${last}`);
  }
  await showResults(database.collections.results, since, { signal, log, print });
});

/** Prints each result from a time on, once, until the signal aborts; then throws its reason. */
async function showResults(
  results: Collection<Result>,
  since: Date,
  { signal, log, print }: {
    signal: AbortSignal;
    log: Log;
    print: (line: string) => Promise<void>;
  },
) {
  const shown = new Set<string>();
  while (true) {
    await throughOutages(async () => {
      const found = results.find({ finished: { $gte: since }, _id: { $nin: [...shown] } });
      for await (const result of found) {
        shown.add(result._id);
        await print(oneLine(result));
      }
    }, { signal, log, isFinal });
    await pause(INTERVAL, signal);
  }
}

/** Where the router of this configuration publishes and takes requests, as seen from this machine. */
async function readAddresses(file: string) {
  try {
    const { publish, zmq } = parseConfig(await Deno.readTextFile(file));
    const feed = zmq.find(({ type }) => type === "REP");
    if (!feed) throw new TypeError("it has no input of the type zmq.REP, to fire at");
    const near = (uri: string) => uri.replace("*", "127.0.0.1");
    return { publisher: near(publish[0]!), requests: near(feed.uri) };
  } catch (error) {
    throw new UsageError(`Cannot use the configuration '${file}': ${(error as Error).message}`);
  }
}

function oneLine({ event, driver, handler, status, data, error }: Result): string {
  const { namespace, event_type } = (typeof event === "string" ? JSON.parse(event) : event) as {
    namespace: string;
    event_type: string;
  };
  const outcome = error ?? JSON.stringify(data);
  const line = `${namespace}:${event_type} -> ${driver} ${handler}: ${status}, ${outcome}`;
  return `  ${printable(line, 1000)}`;
}

/**
 * Workers as child processes.
 * @module
 */
import type { Log } from "@event-sink/lib";
import { dirname, resolve } from "node:path";
import { readStateFile } from "../worker/state_file.ts";
import type { Driver, Worker } from "./pools.ts";

/** How to start them. */
export interface ProcessDriverOptions {
  /** Goes to the workers in the environment: everybody on the machine can read arguments. */
  amqpUrl: string;
  /** Directory of the state files, one per worker. */
  directory: string;
  /** Whether the workers outlive the scaler. */
  keepWorkers: boolean;
  /** Further arguments of each. */
  arguments: string[];
  log: Log;
}

/** Milliseconds that a process has from its start until it holds its state file. */
const START_LIMIT = 10_000;

/** Returns the driver. Workers of an earlier scaler with the same directory are found again by their state files. */
export async function processDriver(options: ProcessDriverOptions): Promise<Driver> {
  const { amqpUrl, keepWorkers, log } = options;
  const directory = resolve(options.directory);
  await Deno.mkdir(directory, { recursive: true, mode: 0o700 });
  const children = new Map<string, Deno.ChildProcess>();

  function spawn(appId: string, name: string) {
    const file = `${directory}/${name}`;
    Deno.writeTextFileSync(file, "starting");
    const [command, ...first] = workerCommand();
    const child = new Deno.Command(command, {
      args: [
        ...first,
        ...["--app-id", appId, "--name", name, "--state-file", file, "--log-level", "warn"],
        ...keepWorkers ? [] : ["--until-stdin-ends"],
        ...options.arguments,
      ],
      // The port of the status is the scaler's.
      env: { AMQP_URL: amqpUrl, STATUS_PORT: "" },
      // The pipe is never written to; it ends with this process, however that ends.
      stdin: keepWorkers ? "null" : "piped",
      stdout: "null",
      stderr: keepWorkers ? "null" : "inherit", // what a dead scaler wrote to may be gone
    }).spawn();
    children.set(name, child);
    if (keepWorkers) child.unref();
    child.status.then(async ({ success, code, signal }) => {
      children.delete(name);
      await Deno.remove(file).catch(() => {}); // usually the worker has done it
      if (!success) log.warn(`${name} has ended with ${signal ?? code}`);
    });
  }

  return {
    async list(appId) {
      const workers: Worker[] = [];
      for await (const { name } of Deno.readDir(directory)) {
        if (!name.startsWith(`${appId}-`) || name.length !== appId.length + 9) continue;
        const state = await readStateFile(`${directory}/${name}`);
        if (state) workers.push({ name, busy: state === "busy" });
        else if (children.has(name) || await isYoung(`${directory}/${name}`)) {
          workers.push({ name });
        } else await Deno.remove(`${directory}/${name}`).catch(() => {}); // killed with its scaler
      }
      return workers;
    },
    start(appId, count) {
      for (let number = 0; number < count; number++) {
        spawn(appId, `${appId}-${crypto.randomUUID().slice(0, 8)}`);
      }
      return Promise.resolve();
    },
    async stop(_appId, workers) {
      for (const { name } of workers) await Deno.remove(`${directory}/${name}`).catch(() => {});
    },
    async [Symbol.asyncDispose]() {
      if (keepWorkers) return;
      const ends = [...children.values()].map((child) => {
        child.stdin.close().catch(() => {}); // it has ended already
        return child.status;
      });
      await Promise.all(ends);
    },
  };
}

async function isYoung(path: string): Promise<boolean> {
  const { mtime } = await Deno.stat(path).catch(() => ({ mtime: null }));
  return mtime !== null && Date.now() - mtime.getTime() < START_LIMIT;
}

/** What starts a worker: its file, or where scaler and worker are packaged, what stands beside the scaler (`deploy/compile.ts`). */
function workerCommand(): [string, ...string[]] {
  const self = Deno.execPath();
  if (Deno.build.standalone) {
    const suffix = Deno.build.os === "windows" ? ".exe" : "";
    return [`${dirname(self)}/elastic-worker${suffix}`];
  }
  const isBundle = import.meta.url.endsWith(".js");
  const file = isBundle ? "../elastic-worker/elastic-worker.js" : "../worker.ts";
  return [
    ...[self, "run", "--no-prompt", "--allow-net", "--allow-read", "--allow-write"] as const,
    "--allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,STATUS_PORT,LOG_LEVEL",
    new URL(file, import.meta.url).href,
  ];
}

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-read --allow-run --allow-sys=hostname --allow-env
/**
 * Execute the handlers of events: claim tasks, run them, write their results.
 *
 * Run: `deno task worker --event-handlers DIR`, as many of them as the work needs, on as many machines.
 *
 * It may run and read anything, and see every variable: what its handlers need stands in event-handlers.json, not here.
 * @module
 */
import { hostname } from "node:os";
import { type Counter, counter, numberFlag, runTool, textFlag, UsageError } from "@event-sink/lib";
import { databaseFlags, openDatabase } from "./database.ts";
import { createDrivers } from "./handlers/drivers.ts";
import type { EndedAttempt } from "./queue/task.ts";
import { inLine } from "./printable.ts";
import { followWakeUps } from "./queue/wake_ups.ts";
import { openWorkerQueue } from "./queue/worker_queue.ts";
import { runWorker } from "./worker/loop.ts";

await runTool(import.meta, {
  longRunning: true,
  about: "Execute the handlers of events: claim tasks, run them, write their results.",
  notes: `Results are in the collection of the configuration's 'task_collection', for 48 hours.
A handler of the driver func has the permissions of its entry; those of this process are the most that it can get.`,
  flags: {
    ...databaseFlags,
    eventHandlers: textFlag("directory of the handlers' files, where commands run, too", {
      value: "DIR",
      default: "/etc/event-reactor/event-handlers",
    }),
    concurrency: numberFlag("handlers at the same time", {
      default: 10,
      min: 1,
      max: 1000,
      whole: true,
    }),
    lease: numberFlag("seconds after which a task of a dead worker goes to another", {
      default: 30,
      min: 0.5,
      max: 86_400,
    }),
    timeLimit: numberFlag("seconds that a handler may take", {
      default: 300,
      min: 0.1,
      max: 86_400,
    }),
    maxAttempts: numberFlag("attempts before a task has failed", {
      default: 5,
      min: 1,
      max: 100,
      whole: true,
    }),
    retryDelay: numberFlag("seconds before the second attempt; doubled for each further one", {
      default: 1,
      max: 3600,
    }),
  },
}, async (tool) => {
  const { flags, signal, log, print } = tool;
  // With the wrong one every task would fail.
  await Deno.readDir(flags.eventHandlers)[Symbol.asyncIterator]().next().catch((error) => {
    throw new UsageError(`--event-handlers: cannot use '${flags.eventHandlers}': ${error.message}`);
  });
  await using database = await openDatabase(tool);
  const queue = openWorkerQueue(database.collections, {
    worker: `${hostname()}:${Deno.pid}`,
    lease: flags.lease * 1000,
    maxAttempts: flags.maxAttempts,
    retryDelay: flags.retryDelay * 1000,
  });
  using drivers = createDrivers({
    directory: flags.eventHandlers,
    timeLimit: flags.timeLimit * 1000,
    concurrency: flags.concurrency,
  });
  // Both from the start: the first failure is to be seen as an increase.
  for (const status of ["done", "failed"]) ended(status);
  let printed = print(" [*] Waiting for tasks. To exit press CTRL+C");
  await printed;
  await runWorker({
    queue,
    drivers,
    concurrency: flags.concurrency,
    follow: (onWake) => followWakeUps(database.db, { onWake, signal, log }),
    written(attempts) {
      for (const { outcome: { status } } of attempts) ended(status).value++;
      // A closed stdout stops the tool by itself.
      if (attempts.length > 0) printed = print(attempts.map(line).join("\n")).catch(() => {});
    },
    signal,
    log,
  });
  await printed;
});

function ended(status: string): Counter {
  return counter("event_sink_attempts_total", "Attempts of tasks that have ended", { status });
}

function line({ task, outcome: { status, error } }: EndedAttempt): string {
  const { entry, namespace, event_type, attempts } = task;
  const why = error === undefined ? "" : ` (attempt ${attempts}: ${inLine(error)})`;
  const what = inLine(`${namespace}:${event_type}`);
  return ` [x] ${entry.driver} ${inLine(entry.handler)} for ${what}: ${status}${why}`;
}

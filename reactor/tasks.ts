#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-read --allow-env=LOG_LEVEL,MONGO_URL,MONGODB_*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL*
/**
 * List, show, retry and purge the tasks of the event handlers and their results.
 *
 * Run: `deno task tasks list --status failed`, `deno task tasks retry --handler mod.f`.
 *
 * It may read any file, since the configuration may be anywhere.
 * @module
 */
import type { Filter } from "mongodb";
import {
  choiceFlag,
  numberFlag,
  runTool,
  switchFlag,
  textFlag,
  type Tool,
  UsageError,
} from "@event-sink/lib";
import { databaseFlags, openDatabase } from "./database.ts";
import type { Collections } from "./queue/collections.ts";
import { inJson, inLine } from "./printable.ts";
import type { Task } from "./queue/task.ts";
import { wakeUp } from "./queue/wake_ups.ts";

const statuses = ["pending", "running", "done", "failed"] as const;

const taskFlags = {
  ...databaseFlags,
  id: chosen("only this task", "ID"),
  status: choiceFlag(`only tasks of this status: ${statuses.join(", ")}`, statuses, {
    value: "STATUS",
    default: "",
  }),
  handler: chosen("only tasks of this handler", "HANDLER"),
  eventType: chosen("only tasks of this event type, or namespace:type", "TYPE"),
  limit: numberFlag("tasks to print at most", { default: 20, min: 1, whole: true }),
  json: switchFlag("print one JSON object a line"),
  yes: switchFlag("purge without asking"),
  timeout: numberFlag("seconds to wait for MongoDB", { default: 10, min: 0.1, max: 86_400 }),
};

type Work = Tool<typeof taskFlags> & { collections: Collections };

const commands = { list, show, retry, purge };

await runTool(import.meta, {
  about: "List, show, retry and purge the tasks of the event handlers and their results.",
  flags: taskFlags,
  commands: {
    list: { about: "a line for each task, the latest first", flags: ["limit", "json"] },
    show: { about: "tasks with their events and results", flags: ["limit", "json"] },
    retry: {
      about: "execute tasks anew, with all their attempts: those that failed, or with " +
        "--status done those that are done",
    },
    purge: {
      about: "remove tasks and their results, asking first, but none that is running",
      flags: ["yes"],
    },
  },
  notes:
    "--id, --status, --handler and --event-type choose the tasks. Tasks that are over stay for 48 hours.",
}, async (tool) => {
  const { command, flags: { status, yes } } = tool;
  if (command === "retry" && ["pending", "running"].includes(status)) {
    throw new UsageError(`Cannot retry tasks that are ${status}: they are not over`);
  }
  if (command === "purge" && !yes && !Deno.stdin.isTerminal()) {
    throw new UsageError("Cannot ask whether to purge: standard input is no terminal; give --yes");
  }
  await using database = await openDatabase(tool, tool.flags.timeout);
  const { collections } = database;
  await commands[command as keyof typeof commands]({ ...tool, collections });
});

async function list(work: Work): Promise<void> {
  const { flags, print, collections } = work;
  const filter = filterOf(work);
  const found = collections.tasks.find(filter).sort({ added: -1, _id: -1 }).limit(flags.limit);
  let shown = 0;
  for await (const { _id, status, attempts, entry, namespace, event_type, added, error } of found) {
    shown++;
    const { driver, handler } = entry;
    if (flags.json) {
      const row = { id: _id, status, attempts, driver, handler, namespace, event_type };
      await print(inJson(JSON.stringify({ ...row, added, error: error ?? null })));
      continue;
    }
    const what = `${inLine(`${namespace}:${event_type}`)} -> ${driver} ${inLine(handler)}`;
    const why = status !== "done" && error ? `: ${inLine(error)}` : "";
    await print(`${added.toISOString()} ${status.padEnd(7)} [${inLine(_id)}] ${what}${why}`);
  }
  await counted(work, filter, shown);
}

async function show(work: Work): Promise<void> {
  const { flags, print, collections } = work;
  const filter = filterOf(work);
  const found = collections.tasks.find(filter).sort({ added: -1, _id: -1 }).limit(flags.limit);
  let shown = 0;
  for await (const { token: _, event, ...task } of found) {
    shown++;
    const result = await collections.results.findOne({ _id: task._id });
    const whole = { ...task, event: JSON.parse(event), result: null as unknown };
    if (result) {
      const { _id, event: _event, ...rest } = result;
      whole.result = rest;
    }
    const json = JSON.stringify(whole, null, flags.json ? undefined : 2);
    for (const line of json.split("\n")) await print(inJson(line));
  }
  await counted(work, filter, shown);
}

async function counted({ flags, print, collections }: Work, filter: Filter<Task>, shown: number) {
  if (flags.id !== "" && shown === 0) throw new Error(`There is no such task '${flags.id}'`);
  if (flags.json) return;
  const total = await collections.tasks.countDocuments(filter);
  await print(`${shown} of ${tasksText(total)} shown`);
}

async function retry(work: Work): Promise<void> {
  const { flags, print, collections: { tasks, results, wakeUps } } = work;
  const filter = {
    ...filterOf(work),
    status: flags.status === "done" ? "done" : "failed",
  } as const;
  let retried = 0;
  for await (const ids of batches(work, filter)) {
    // The result first: a task that runs again must not find one.
    await results.deleteMany({ _id: { $in: ids } });
    const now = new Date();
    const { modifiedCount } = await tasks.updateMany({ ...filter, _id: { $in: ids } }, {
      $set: { status: "pending", due: now, attempts: 0 },
      $unset: { expires: "", error: "" },
    });
    retried += modifiedCount;
    await wakeUp(wakeUps);
  }
  if (flags.id !== "" && retried === 0) {
    throw new Error(`There is no task '${flags.id}' that is ${filter.status}`);
  }
  await print(retried === 0 ? "There is nothing to retry" : `${tasksText(retried)} to run again`);
}

/** Removes the tasks that it has counted, not those that are added in the meantime. */
async function purge(work: Work): Promise<void> {
  const { flags, print, signal, collections: { tasks, results } } = work;
  const until = new Date();
  const chosen = filterOf(work);
  const filter: Filter<Task> = {
    $and: [chosen, { status: { $ne: "running" }, added: { $lte: until } }],
  };
  const count = await tasks.countDocuments(filter);
  if (count === 0) return await print("There is nothing to purge");
  if (!flags.yes) {
    await print(`Remove ${tasksText(count)} and their results for good? [y/N]`);
    if (!await yes(signal)) return await print("Nothing was removed");
  }
  let removed = 0;
  for await (const ids of batches(work, filter)) {
    const { deletedCount } = await tasks.deleteMany({ $and: [filter, { _id: { $in: ids } }] });
    removed += deletedCount;
    const left = await tasks.find({ _id: { $in: ids } }).project({ _id: 1 }).toArray();
    const gone = new Set(ids).difference(new Set(left.map(({ _id }) => _id)));
    await results.deleteMany({ _id: { $in: [...gone] } });
  }
  await print(`Removed ${tasksText(removed)}`);
}

/** Yields the ids of the tasks that a filter selects now, in batches. */
async function* batches({ collections, signal }: Work, filter: Filter<Task>) {
  const found = await collections.tasks.find(filter).project<{ _id: string }>({ _id: 1 }).toArray();
  const ids = found.map(({ _id }) => _id);
  for (let at = 0; at < ids.length && !signal.aborted; at += 500) yield ids.slice(at, at + 500);
}

function filterOf({ flags: { id, status, handler, eventType } }: Work): Filter<Task> {
  const [type = "", ...rest] = eventType.split(":").toReversed();
  const namespace = rest.toReversed().join(":");
  return {
    ...(id && { _id: id }),
    ...(status && { status: status as Task["status"] }),
    ...(handler && { "entry.handler": handler }),
    ...(type && { event_type: type }),
    ...(namespace && { namespace }),
  };
}

/** Reads an answer without blocking, so that Ctrl-C still works. */
async function yes(signal: AbortSignal): Promise<boolean> {
  const aborted = new Promise<undefined>((resolve) =>
    signal.addEventListener("abort", () => resolve(undefined))
  );
  const line = await Promise.race([Deno.stdin.readable.getReader().read(), aborted]);
  return /^y(es)?$/i.test(new TextDecoder().decode(line?.value).trim());
}

function tasksText(count: number): string {
  return count === 1 ? "1 task" : `${count} tasks`;
}

/** Refuses the empty text of an unset shell variable, which would choose everything. */
function chosen(about: string, value: string) {
  return textFlag(about, { value, default: "" });
}

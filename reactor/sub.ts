#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-read --allow-ffi --allow-env=STATUS_PORT,LOG_LEVEL,MONGO_URL,MONGODB_*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL*
/**
 * Turn events into tasks for the handlers that the filters name.
 *
 * Run: `deno task sub --event-handlers DIR --event-filters FILE`, and at least one `deno task worker`.
 *
 * It may read any file, since its flags name files that may be anywhere, and ZeroMQ's library is in Deno's cache.
 * @module
 */
import {
  counter,
  inSpan,
  runTool,
  startSpan,
  switchFlag,
  textFlag,
  throughOutages,
  type Tool,
  UsageError,
  watch,
} from "@event-sink/lib";
import { curveClientOptions, keyFlags } from "./zmq/curve.ts";
import { databaseFlags, openDatabase } from "./database.ts";
import { parseEvent, type ReactorEvent, type StreamEvent } from "./event.ts";
import { explain } from "./sub/explain.ts";
import { type Filters, readFilters, watchFilters } from "./sub/filters.ts";
import { follow } from "./sub/follow.ts";
import { openJournal } from "./journal/journal.ts";
import { subscribe } from "./zmq/subscription.ts";
import { isFinal } from "./mongo_errors.ts";
import { inLine } from "./printable.ts";
import { addTasks } from "./queue/add.ts";
import type { NewTask } from "./queue/task.ts";
import { spanOf, writeSpan } from "./trace.ts";

const subFlags = {
  ...databaseFlags,
  eventHandlers: textFlag("directory of the handlers' files, for --explain", {
    value: "DIR",
    default: "/etc/event-reactor/event-handlers",
  }),
  eventFilters: textFlag("which handlers an event goes to; read again when it changes", {
    value: "FILE",
    short: "e",
    default: "/etc/event-reactor/event-handlers.json",
  }),
  publisherUri: textFlag("where the router publishes", {
    value: "URI",
    short: "u",
    default: "tcp://127.0.0.1:55000",
  }),
  ...keyFlags,
  name: textFlag("under which it remembers how far it came", { value: "NAME", default: "sub" }),
  fromStart: switchFlag("begin a new name with the oldest event of the journal, not the next one"),
  explain: textFlag("say which handlers this event would go to, and end", {
    value: "FILE",
    default: "",
  }),
};

await runTool(import.meta, {
  longRunning: true,
  about: "Turn events into tasks for the handlers that the filters name.",
  flags: subFlags,
}, async (tool) => {
  if (tool.flags.explain !== "") return await explainEvent(tool);
  const { flags, signal, log, print } = tool;
  const keys = await curveClientOptions(flags);
  using filters = await watchFilters(flags.eventFilters, log).catch(asUsage);
  await using database = await openDatabase(tool);
  const { db, collections } = database;
  const outages = { signal, log, isFinal };
  const journal = await throughOutages(() => openJournal(db), outages);
  const subscribers = db.collection<{ _id: string; number: number; at: Date }>("subscribers");
  // Before the position is read: what comes from now on waits in the socket.
  let onConnect = () => {};
  using subscription = subscribe(flags.publisherUri, {
    keys,
    onConnect: () => onConnect(),
    signal,
    log,
  });
  const first = flags.fromStart ? 0 : await throughOutages(journal.last, outages);
  // A new name is written down at once, so that its next start begins here and fetches what comes while it is away.
  const known = await throughOutages(() =>
    subscribers.findOneAndUpdate(
      { _id: flags.name },
      { $setOnInsert: { number: first, at: new Date() } },
      { upsert: true, returnDocument: "after" },
    ), outages);
  const received = counter("messaging_client_consumed_messages_total", "Events handled", {
    messaging_system: "zeromq",
  });
  const follower = follow({
    receive: subscription.receive,
    journal,
    position: known?.number ?? first,
    async handle(events, position) {
      const tasks = events.flatMap((event) => tasksOf(event, flags.name, filters.match));
      const causes = tasks.flatMap(({ trace }) => trace ?? []);
      const add = () => addTasks(collections, tasks);
      await (causes.length > 0 ? inSpan(...writeSpan("update", "tasks", causes), add) : add());
      received.value += events.length;
      if (position === undefined) return;
      await subscribers.updateOne(
        { _id: flags.name },
        { $max: { number: position }, $set: { at: new Date() } },
        { upsert: true },
      );
    },
    idle: 5000,
    signal,
    log,
  });
  onConnect = follower.catchUp;
  using _part = watch({
    name: "subscriber",
    works: true,
    trouble: () => subscription.connected ? undefined : `no connection to ${flags.publisherUri}`,
  });
  await print(" [*] Waiting for events. To exit press CTRL+C");
  await follower.ended;
});

/** The tasks for an event. Their ids depend on its number only, so that an event that comes twice, as after a crash, adds no second task. */
function tasksOf(event: StreamEvent, name: string, match: Filters): NewTask[] {
  const { namespace, event_type, text } = event;
  // Without a journal events have no numbers. Each comes once at most then, and two that look alike are two.
  const identity = event.number ?? crypto.randomUUID();
  const matches = match(event);
  if (matches.length === 0) return [];
  const id = `${identity}`;
  const span = startSpan(...spanOf("process", event, { system: "zeromq", id, cause: event.trace }));
  const { trace } = span;
  span.end();
  return matches.map(({ pattern, index, entry }) => ({
    _id: `${name} ${identity} ${pattern} ${index}`,
    event: text,
    namespace,
    event_type,
    ...trace.traceparent && { trace },
    entry,
  }));
}

async function explainEvent({ flags, print }: Tool<typeof subFlags>): Promise<void> {
  const event = await readEvent(flags.explain);
  const match = await readFilters(flags.eventFilters).catch(asUsage);
  const lines = await explain(match(event), flags.eventHandlers);
  const count = lines.length === 1 ? "1 handler" : `${lines.length || "no"} handlers`;
  await print(`${inLine(`${event.namespace}:${event.event_type}`)} goes to ${count}`);
  for (const line of lines) await print(`  ${line}`);
}

async function readEvent(file: string): Promise<ReactorEvent> {
  try {
    return parseEvent(await Deno.readFile(file), { namespace: "local" });
  } catch (error) {
    throw new UsageError(`--explain: cannot use ${file}: ${(error as Error).message}`);
  }
}

function asUsage(error: Error): never {
  throw new UsageError(error.message);
}

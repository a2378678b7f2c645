#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,QUEUE_TYPE,LOG_LEVEL
/**
 * List, show, replay and purge the messages that could not be handled.
 *
 * Run: `deno task dead-letters list`, `deno task dead-letters replay --reason "not UTF-8"`.
 * @module
 */
import {
  amqpUrlFlag,
  type Broker,
  connectBroker,
  counted,
  createPublisher,
  type Flags,
  numberFlag,
  openQueue,
  type Reader,
  runTool,
  switchFlag,
  textFlag,
  timeoutFlag,
  type Tool,
  UsageError,
  type Where,
  whereFlag,
  whereOf,
} from "@event-sink/lib";
import { fromFlag, replayEdited } from "./edited.ts";
import { digestOf, json, letterOf, lines, queried, replayed } from "./letter.ts";
import { queues } from "./queues.ts";
import { createResender } from "./resend.ts";

const flags = {
  amqpUrl: amqpUrlFlag,
  queue: textFlag("only this dead-letter queue, which need not be one of those below", {
    value: "NAME",
    default: "",
  }),
  id: textFlag("only messages with this message id", { value: "ID", default: "" }),
  reason: textFlag("only messages whose reason contains this text", { default: "" }),
  where: whereFlag,
  to: textFlag("queue to send them to, instead of the one that each came from", {
    value: "QUEUE",
    default: "",
  }),
  from: fromFlag,
  limit: numberFlag("messages to show at most", { default: 20, min: 1, whole: true }),
  full: switchFlag("show bodies whole"),
  json: switchFlag("print one JSON object a line, with all that the message has"),
  all: switchFlag("purge every queue below"),
  yes: switchFlag("purge without asking"),
  timeout: timeoutFlag,
} satisfies Flags;

type Work = Tool<typeof flags> & { broker: Broker; where: Where };

const commands = { list, show, replay, purge };

await runTool(import.meta, {
  about: "List, show, replay and purge the messages that could not be handled.",
  flags,
  commands: {
    list: { about: "the queues, with the messages in them", flags: ["json"] },
    show: {
      about: "the messages, which stay",
      flags: ["id", "reason", "where", "limit", "full", "json"],
    },
    replay: {
      about:
        "send each message back to the queue it came from, for a first attempt; it is removed " +
        "here when the broker has confirmed it there, a crash in between leaves it in both",
      flags: ["id", "reason", "where", "to", "from"],
    },
    purge: {
      about: "remove the messages of --queue or --all, asking first",
      flags: ["id", "reason", "where", "all", "yes"],
    },
  },
  notes: `Dead-letter queues:
${Object.entries(queues).map(([name, tool]) => `  ${name.padEnd(24)} ${tool}`).join("\n")}

Messages that another program holds unacknowledged are neither counted nor touched.`,
}, async (tool) => {
  const { command, flags: { amqpUrl: url, all, queue, timeout: seconds, yes }, signal, log } = tool;
  if (command === "purge") {
    if (all === (queue !== "")) {
      throw new UsageError("Cannot purge: give --queue NAME, or --all for every queue of the list");
    }
    if (!yes && !Deno.stdin.isTerminal()) {
      throw new UsageError(
        "Cannot ask whether to purge: standard input is no terminal; give --yes",
      );
    }
  }
  if (tool.flags.from !== "" && filtered(tool.flags)) {
    throw new UsageError(
      "--from: its lines are the choice; no --id, --reason or --where beside it",
    );
  }
  const where = await whereOf(tool.flags.where);
  await using broker = await connectBroker({ amqpUrl: url, signal, log, timeout: seconds * 1000 });
  await commands[command as keyof typeof commands]({ ...tool, broker, where });
});

async function list(work: Work): Promise<void> {
  const found = await openQueues(work);
  if (work.flags.json) {
    for (const { name, count, consumers } of found) {
      await work.print(JSON.stringify({ queue: name, messages: count, consumers }));
    }
    return;
  }
  if (found.length === 0) return await work.print("There is no dead-letter queue yet");
  const width = Math.max(...found.map(({ name }) => name.length));
  await work.print(`${"queue".padEnd(width)}  messages  consumers`);
  for (const { name, count, consumers } of found) {
    const numbers = `${String(count).padStart(8)}  ${String(consumers).padStart(9)}`;
    await work.print(`${name.padEnd(width)}  ${numbers}`);
  }
}

async function show(work: Work): Promise<void> {
  const { flags, signal, print } = work;
  let shown = 0;
  let total = 0;
  for (const each of await openQueues(work)) {
    await using queue = each;
    total += queue.count;
    for await (const { raw, letter } of matching(work, queue, flags.limit - shown)) {
      if (flags.json) await print(json(queue.name, raw, letter));
      else await print(lines(queue.name, raw, letter, flags.full).join("\n"));
      shown++;
    }
  }
  if (signal.aborted) return;
  missing(work, shown);
  if (!flags.json) await print(`${shown} of ${counted(total)} shown`);
}

async function replay(work: Work): Promise<void> {
  const { flags, broker, signal, print } = work;
  const timeout = flags.timeout * 1000;
  if (flags.from !== "") {
    return await replayEdited(Deno.stdin.readable, { ...work, ...flags, timeout });
  }
  if (flags.id !== "") await assertOne(work);
  const found = await openQueues(work);
  const problems: string[] = [];
  let matched = 0;
  await using publisher = await createPublisher(broker, { timeout });
  for (const each of found) {
    if (signal.aborted) break;
    await using queue = each;
    const resender = createResender(publisher, queue);
    const left = new Map<string, { count: number; first: string }>();
    const underway = new Set<Promise<void>>();
    const leave = (id: string | undefined, why: string) => {
      const { count, first } = left.get(why) ?? { count: 0, first: id ?? "without id" };
      left.set(why, { count: count + 1, first });
    };
    try {
      for await (const { raw, letter } of matching(work, queue, flags.id === "" ? Infinity : 1)) {
        matched++;
        const target = flags.to || letter.originalQueue;
        if (!target || flags.to === "" && target === queue.name) {
          leave(letter.id, "it does not say which queue it came from");
          continue;
        }
        await publisher.ready();
        const properties = replayed(raw.properties, letter, target);
        const settled = resender.send(raw, { target, body: raw.content, properties })
          .catch((error) => leave(letter.id, error.message));
        underway.add(settled);
        settled.then(() => underway.delete(settled));
      }
    } catch (error) {
      const hint = "replay again for the rest; some may come twice, with the same message id";
      problems.push(`${(error as Error).message}; ${hint}`);
    }
    await Promise.all(underway);
    await resender.told(print);
    for (const [why, { count, first }] of left) {
      problems.push(`Left ${counted(count)} in ${queue.name} (the first: ${first}): ${why}`);
    }
  }
  if (problems.length > 0) throw new Error(problems.join("; "));
  if (signal.aborted) return await print("Stopped; the other messages are where they were");
  missing(work, matched);
  if (matched === 0) await print("There is nothing to replay");
}

/** Throws when there is more than one message that is meant; copies in a queue, as a crash may leave them, count as one. */
async function assertOne(work: Work): Promise<void> {
  const found = new Map<string, Set<string>>();
  for (const each of await openQueues(work)) {
    await using queue = each;
    const digests = new Set<string>();
    for await (const { raw } of matching(work, queue)) digests.add(digestOf(raw));
    if (digests.size > 0) found.set(queue.name, digests);
  }
  const counts = [...found].map(([name, { size }]) => ({ name, size }));
  if (counts.reduce((sum, { size }) => sum + size, 0) < 2) return;
  const where = counts.map(({ name, size }) => `${size} in ${name}`).join(", ");
  throw new Error(
    `More than one message has the id '${work.flags.id}': ${where}; nothing was replayed. ` +
      "Choose one with --queue, --reason or --where",
  );
}

/** Removes no more messages than it has announced: what comes in meanwhile stays. */
async function purge(work: Work): Promise<void> {
  const { flags, signal, print, broker } = work;
  const counts = new Map<string, number>();
  for (const each of await openQueues(work)) {
    await using queue = each;
    let count = filtered(flags) ? 0 : queue.count;
    if (filtered(flags)) { for await (const _ of matching(work, queue)) count++; }
    if (count > 0) counts.set(queue.name, count);
  }
  if (signal.aborted) return;
  missing(work, counts.size);
  if (counts.size === 0) return await print("There is nothing to purge");
  if (!flags.yes) {
    for (const [name, count] of counts) await print(`${counted(count)} in ${name}`);
    await print("Remove them for good? [y/N]");
    if (!await yes(signal)) return await print("Nothing was removed");
  }
  for (const [name, count] of counts) {
    await using queue = await openQueue(broker, name, flags.timeout * 1000);
    let removed = 0;
    if (queue) {
      for await (const { raw } of matching(work, queue, count)) {
        queue.remove(raw);
        removed++;
      }
    }
    await print(`Removed ${counted(removed)} from ${name}`);
  }
}

/** The queue of `--queue`, else the known ones that exist. */
async function openQueues({ flags, broker }: Work): Promise<Reader[]> {
  const names = flags.queue === "" ? Object.keys(queues) : [flags.queue];
  const opened = names.map((name) => openQueue(broker, name, flags.timeout * 1000));
  const found = (await Promise.all(opened)).filter((queue) => queue !== undefined);
  if (flags.queue !== "" && found.length === 0) {
    throw new Error(`There is no queue '${flags.queue}' at ${broker.name}`);
  }
  return found;
}

function filtered({ id, reason, where }: Work["flags"]): boolean {
  return id !== "" || reason !== "" || where !== "";
}

/** The letters in a queue that `--id`, `--reason` and `--where` choose, `limit` at most; the others are held until the queue is disposed. */
async function* matching({ flags, signal, where }: Work, queue: Reader, limit = Infinity) {
  let left = limit;
  if (left === 0) return;
  for await (const raw of queue.read(signal, filtered(flags) ? Infinity : limit)) {
    const letter = letterOf(raw);
    if (flags.id !== "" && letter.id !== flags.id) continue;
    if (!(letter.reason ?? "").includes(flags.reason)) continue;
    if (!where(queried(raw, letter))) continue;
    yield { raw, letter };
    if (--left === 0) return;
  }
}

function missing({ flags }: Work, found: number): void {
  if (flags.id !== "" && found === 0) {
    throw new Error(`There is no message '${flags.id}' with what else was asked for`);
  }
}

/** Reads an answer without blocking, so that heartbeats and Ctrl-C still work. */
async function yes(signal: AbortSignal): Promise<boolean> {
  const aborted = new Promise<undefined>((resolve) =>
    signal.addEventListener("abort", () => resolve(undefined))
  );
  const line = await Promise.race([Deno.stdin.readable.getReader().read(), aborted]);
  return /^y(es)?$/i.test(new TextDecoder().decode(line?.value).trim());
}

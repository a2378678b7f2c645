#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,STATUS_PORT,LOG_LEVEL --allow-read --allow-write
/**
 * Show what flows through exchanges, without taking anything from anybody.
 *
 * Run: `deno task tap`, `deno task tap "topic_logs:kern.*" --json`, `deno task tap --queue hello.dlq`.
 * @module
 */
import {
  amqpUrlFlag,
  type Broker,
  connectBroker,
  counted,
  type Flag,
  type Flags,
  numberFlag,
  openQueue,
  runTool,
  type SavedMessage,
  switchFlag,
  textFlag,
  timeoutFlag,
  type Tool,
  UsageError,
  whereFlag,
  whereOf,
} from "@event-sink/lib";
import type { ConsumeMessage } from "amqplib";
import { tapExchanges } from "./exchanges.ts";
import { openSaveFile } from "./file.ts";
import { createOutput, type Output } from "./output.ts";
import { type Source, sourceOf } from "./source.ts";
import { checkKey } from "./type.ts";

const units = { s: 1, m: 60, h: 3600, d: 86_400 };

const flags = {
  amqpUrl: amqpUrlFlag,
  where: whereFlag,
  json: switchFlag("print one JSON object a line (bodyBase64: not UTF-8)"),
  save: textFlag("append these lines to a file, too", { value: "FILE", default: "" }),
  limit: {
    ...numberFlag("end after so many messages; 20 with --queue, else none", {
      min: 1,
      whole: true,
      default: 1,
    }),
    default: undefined,
  } as Flag<number | undefined>,
  for: textFlag("end after this time: a number and s, m, h or d", {
    value: "TIME",
    default: "",
    parse: (text) => `${secondsOf(text)}`,
  }),
  queue: textFlag("look at this queue instead, whose messages stay as they are", {
    value: "NAME",
    default: "",
  }),
  timeout: {
    ...timeoutFlag,
    about: "seconds that each answer of the broker may take with --queue",
  },
} satisfies Flags;

await runTool(import.meta, {
  longRunning: true,
  about:
    "Show what flows through exchanges (clowder.metrics), without taking anything from anybody.",
  arguments: "[EXCHANGE[:PATTERN]...]",
  flags,
  notes:
    `PATTERN is a routing key, of a topic exchange with * for a word and # for any number of words.
Without one everything is shown. A direct exchange needs one for each key; fanout and headers
exchanges have none. The last colon begins it, unless there is a backslash before it.`,
}, async (tool) => {
  const { flags, words, log } = tool;
  if (flags.queue !== "" && words.length > 0) {
    throw new UsageError("Cannot tap both: give --queue NAME, or exchanges");
  }
  if (flags.queue !== "" && flags.for !== "") {
    throw new UsageError("--for is for exchanges: a look at a queue ends by itself");
  }
  const sources = sourcesOf(words.length > 0 ? words : ["clowder.metrics"]);
  const where = await whereOf(flags.where);
  using file = flags.save === "" ? undefined : openSaveFile(flags.save, log);
  const limit = flags.limit ?? (flags.queue === "" ? Infinity : 20);
  const output = createOutput({ ...tool, json: flags.json, file, where, limit });
  const { signal } = tool;
  const timeout = flags.queue === "" ? undefined : flags.timeout * 1000;
  await using broker = await connectBroker({ amqpUrl: flags.amqpUrl, signal, log, timeout });
  if (flags.queue === "") await showExchanges(tool, broker, sources, output);
  else await showQueue(tool, broker, output, limit);
});

type Work = Tool<typeof flags>;

async function showExchanges(
  { flags, signal, log }: Work,
  broker: Broker,
  sources: Source[],
  output: Output,
): Promise<void> {
  const end = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const names = sources.map(({ exchange, key, chosen }) =>
    chosen ? `${exchange}:${key}` : exchange
  );
  for (const source of sources) {
    if (await checkKey(broker, source) || source.chosen) continue;
    const { exchange } = source;
    log.warn(
      `The broker does not say of which type '${exchange}' is. If it is direct, name a key: ${exchange}:KEY`,
    );
  }
  try {
    await tapExchanges(broker, sources, {
      signal: AbortSignal.any([signal, end.signal]),
      ready() {
        if (timer) return log.warn("Tapping again; what was published meanwhile was not seen");
        log.info(`Tapping ${names.join(", ")}. To exit press CTRL+C`);
        const seconds = flags.for === "" ? 2 ** 31 / 1000 - 1 : Number(flags.for);
        timer = setTimeout(() => end.abort(), seconds * 1000);
      },
      async take(messages) {
        const all = await output.write(messages.map(({ raw, time }) => messageOf(raw, time)));
        if (all) end.abort();
      },
    });
  } finally {
    clearTimeout(timer);
  }
}

async function showQueue(
  { flags, signal, print }: Work,
  broker: Broker,
  output: Output,
  limit: number,
): Promise<void> {
  // With a query it is not known how many have to be read.
  const most = flags.where === "" ? limit : Infinity;
  await using queue = await openQueue(broker, flags.queue, flags.timeout * 1000);
  if (!queue) throw new Error(`There is no queue '${flags.queue}' at ${broker.name}`);
  for await (const raw of queue.read(signal, most)) {
    if (await output.write([messageOf(raw)], { queue: flags.queue })) break;
  }
  if (!flags.json && !signal.aborted) await print(`${counted(output.count)} shown`);
}

function messageOf({ fields, properties, content }: ConsumeMessage, time?: Date): SavedMessage {
  const { exchange, routingKey } = fields;
  return { time, exchange, routingKey, body: content, properties };
}

function sourcesOf(words: string[]): Source[] {
  try {
    return words.map(sourceOf);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function secondsOf(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(s|m|h|d)$/.exec(text) ?? [];
  const seconds = Number(number) * units[unit as keyof typeof units];
  if (seconds > 0 && seconds < 2 ** 31 / 1000) return seconds;
  throw new RangeError(`expected a time up to 24d, such as 30s or 5m, not '${text}'`);
}

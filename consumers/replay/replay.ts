#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env=AMQP_URL,AMQPURL,RABBITMQ_URI,QUEUE_URL,LOG_LEVEL,MONGO_URL,MONGODB_*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL* --allow-read --allow-write=.
/**
 * Publish saved messages again.
 *
 * Run: `deno task replay --from saved.ndjson`, or `deno task replay --from-mongo`.
 * @module
 */
import {
  amqpUrlFlag,
  connectBroker,
  connectMongo,
  counted,
  type Flag,
  mongoUrlFlag,
  nameOf,
  printable,
  runTool,
  switchFlag,
  textFlag,
  timeoutFlag,
  type Tool,
  UsageError,
  whereFlag,
  whereOf,
} from "@event-sink/lib";
import { outgoingOf } from "./outgoing.ts";
import { openPosition, readPosition } from "./position.ts";
import { type Outcome, replay } from "./run.ts";
import { openSaved } from "./saved_file.ts";
import { type Found, type Mark, type Source, Unusable } from "./source.ts";
import { openStored } from "./stored.ts";

const flags = {
  from: textFlag("file of messages that was saved by tap or dead-letters, - for standard input", {
    value: "FILE",
    default: "",
  }),
  fromMongo: switchFlag("what the Mongo consumer has stored, instead of a file"),
  amqpUrl: amqpUrlFlag,
  mongoUrl: mongoUrlFlag,
  database: textFlag("with --from-mongo: the database", { value: "NAME", default: "clowder" }),
  collection: textFlag("with --from-mongo: the collection", {
    value: "NAME",
    default: "eventsink.messages",
  }),
  exchange: destinationFlag(
    'exchange to publish to, "" for the default exchange; each message\'s own if unset, clowder.metrics with --from-mongo',
    "NAME",
  ),
  routingKey: destinationFlag("routing key; each message's own if unset", "KEY"),
  where: whereFlag,
  since: dateFlag("only what was seen at that time or later: 2026-01-31, 2026-01-31T12:00Z"),
  until: dateFlag("only what was seen before that time"),
  speed: {
    about: "keep the gaps between the messages, at that many times their speed; max for no gaps",
    value: "1|10|max",
    default: "max",
    parse(text) {
      if (text === "max" || Number(text) > 0 && Number.isFinite(Number(text))) return text;
      throw new RangeError(`expected a number above 0, or max, not '${text}'`);
    },
  } as Flag<string>,
  position: textFlag(
    "file that keeps how far it came, where the next run goes on (default: FILE.position, DATABASE.COLLECTION.position; none for standard input)",
    { value: "FILE", default: "" },
  ),
  dryRun: switchFlag("say what would be published, and where to; publish nothing"),
  timeout: timeoutFlag,
};

function destinationFlag(about: string, value: string): Flag<string | undefined> {
  return { about, value, default: undefined, parse: (text) => text };
}

function dateFlag(about: string): Flag<Date | undefined> {
  return {
    about,
    value: "DATE",
    default: undefined,
    parse(text) {
      const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
      if (Number.isNaN(time)) {
        throw new TypeError(`expected a date such as 2026-01-31T12:00:00Z, not '${text}'`);
      }
      return new Date(time);
    },
  };
}

type Replay = Tool<typeof flags>;

await runTool(import.meta, {
  about: "Publish saved messages again, to their exchange and with their routing key.",
  notes: "Message ids are kept; headers of retries and dead letters, and expiration, are not.",
  flags,
}, async (tool) => {
  const { flags, signal, log } = tool;
  if (flags.fromMongo === (flags.from !== "")) {
    throw new UsageError("one of --from FILE and --from-mongo is needed: what to replay");
  }
  const where = await whereOf(flags.where);
  await using stack = new AsyncDisposableStack();
  const source = await openSource(tool, stack);
  const path = positionOf(tool, source);
  const asked = {
    source: flags.fromMongo ? `${nameOf(flags.mongoUrl)} ${source.name}` : "file",
    broker: nameOf(flags.amqpUrl),
    "--exchange": flags.exchange,
    "--routing-key": flags.routingKey,
    "--where": flags.where || undefined,
    "--since": flags.since?.toISOString(),
    "--until": flags.until?.toISOString(),
  };
  const chosen = (found: Found) => isBetween(found, flags) && where(found.message);
  if (flags.dryRun) {
    const from = path === undefined ? undefined : await readPosition(path, { source, asked });
    if (from) log.info(`Going on ${placeOf(from)} of ${source.name}, by '${path}'`);
    return await tell(tool, { source, from, chosen });
  }
  const position = path === undefined
    ? undefined
    : stack.use(await openPosition(path, { source, asked, failed: tool.fail }));
  const from = position?.start;
  if (from) log.info(`Going on ${placeOf(from)} of ${source.name}, by '${path}'`);
  const timeout = flags.timeout * 1000;
  const { amqpUrl } = flags;
  const started = performance.now();
  const outcome = await replay(() => connectBroker({ amqpUrl, signal, log, timeout }), {
    source,
    from,
    position,
    destination: flags,
    chosen,
    speed: flags.speed === "max" ? Infinity : Number(flags.speed),
    signal,
    timeout,
  });
  await position?.save();
  await report(tool, outcome, { seconds: (performance.now() - started) / 1000, path, from });
});

async function openSource(
  { flags, signal, log }: Replay,
  stack: AsyncDisposableStack,
): Promise<Source & { regular?: boolean }> {
  if (!flags.fromMongo) return stack.use(await openSaved(flags.from));
  const mongo = stack.use(await connectMongo({ url: flags.mongoUrl, signal, log }));
  return openStored(mongo, { ...flags, log, counting: Deno.stderr.isTerminal() });
}

/** Where the position is kept; undefined when nothing could be taken up again. */
function positionOf({ flags }: Replay, source: Source & { regular?: boolean }): string | undefined {
  if (source.regular === false) {
    if (flags.position === "") return undefined;
    throw new UsageError(`--position: ${source.name} can be read once only; save it to a file`);
  }
  if (flags.position !== "") return flags.position;
  return `${flags.fromMongo ? `${flags.database}.${flags.collection}` : flags.from}.position`;
}

function placeOf({ line, _id }: Mark): string {
  return line === undefined ? `after document ${JSON.stringify(_id)}` : `after line ${line}`;
}

/** A message that says no time was seen when it was published. */
function isBetween(
  { name, message: { time, properties: { timestamp } } }: Found,
  { since, until }: { since?: Date; until?: Date },
): boolean {
  if (!since && !until) return true;
  const at = time?.getTime() ?? (timestamp === undefined ? undefined : timestamp * 1000);
  if (at === undefined) {
    throw new Unusable(`${name}: it has no time, which --since and --until go by`);
  }
  return at >= (since?.getTime() ?? -Infinity) && at < (until?.getTime() ?? Infinity);
}

/** Says what would be published. */
async function tell(
  { flags, print, signal }: Replay,
  { source, from, chosen }: {
    source: Source;
    from?: Mark;
    chosen: (found: Found) => boolean;
  },
) {
  let count = 0;
  let left = 0;
  for await (const found of source.read(from, signal)) {
    if (!chosen(found)) {
      left++;
      continue;
    }
    const { exchange, routingKey, body, properties } = outgoingOf(found, flags);
    count++;
    const to = `exchange '${exchange}', routing key '${routingKey}'`;
    await print(
      printable(
        `${found.name}: ${to}, id ${properties.messageId}, ${counted(body.length, "byte")}`,
      ),
    );
  }
  await print(` [x] Would replay ${counted(count)}${leftOut(left)}`);
}

function leftOut(left: number): string {
  return left > 0 ? `, ${left} left out` : "";
}

async function report(
  { print }: Replay,
  { published, left, beyond, failure }: Outcome,
  { seconds, path, from }: { seconds: number; path?: string; from?: Mark },
) {
  const rate = Math.round(published / seconds);
  await print(
    ` [x] Replayed ${counted(published)} in ${seconds.toFixed(1)} s (${rate}/s)${leftOut(left)}`,
  );
  if (!failure) {
    if (from && published + left === 0) {
      await print(`     Nothing is left after ${path}; delete it to replay everything again`);
    }
    return;
  }
  const again = beyond > 0 ? `, ${counted(beyond)} behind it a second time` : "";
  const goesOn = path !== undefined && (from || published + left > beyond);
  const next = goesOn
    ? `The next run goes on there${again}, by '${path}'`
    : published === 0
    ? "Nothing was published"
    : `The next run begins anew${again}`;
  throw new Error(`${failure.message}. ${next}`);
}

#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-ffi --allow-read --allow-env=QUEUE_TYPE,STATUS_PORT,LOG_LEVEL,MONGO_URL,MONGODB_*,AWS_EXECUTION_ENV,AWS_LAMBDA_*,AWS_REGION,FUNCTION*,K_SERVICE,KUBERNETES_SERVICE_HOST,VERCEL*
/**
 * Take events from several inputs, number and journal them, and publish them on one stream.
 *
 * Run: `deno task router -c config.json`, then `deno task fire -e zmq.test -d '{"a":1}'` in another terminal.
 *
 * It may read any file, since the configuration may be anywhere, and ZeroMQ's library is in Deno's cache.
 * @module
 */
import {
  aborted,
  brokerFlags,
  connectBroker,
  connectMongo,
  gauge,
  type Log,
  nameOf,
  runTool,
  throughOutages,
  type Tool,
  watch,
  within,
  withoutPassword,
} from "@event-sink/lib";
import { parseConfig, readConfig, type RouterConfig } from "./config.ts";
import { databaseFlags } from "./database.ts";
import { type Journal, KEEP_SECONDS, openJournal } from "./journal/journal.ts";
import { isFinal } from "./mongo_errors.ts";
import { openOutput } from "./router/output.ts";
import { feedFromQueue } from "./router/queue_input.ts";
import { startStream, type Stream } from "./router/stream.ts";
import { openZmqInput, type ZmqInput } from "./router/zmq_input.ts";
import { isReachable } from "./zmq/sockets.ts";
import { startZapHandler } from "./zmq/zap.ts";

/** Milliseconds that stopping may wait for MongoDB. */
const LAST_WRITE_LIMIT = 8000;

const routerFlags = {
  ...databaseFlags,
  config: { ...databaseFlags.config, about: "configuration file" },
  queueType: brokerFlags.queueType,
};
type RouterTool = Tool<typeof routerFlags>;

await runTool(import.meta, {
  longRunning: true,
  about: "Take events from several inputs and publish them on one stream.",
  notes: "Dead-letter queue: <queue_name>.dlq, of an AMQP feed, for messages that are no events",
  flags: routerFlags,
  endsByItself: true,
}, async (tool) => {
  const config = await readConfig(tool.flags.config, parseConfig);
  if (config.logLevel && tool.flags.logLevel === "info") tool.log.setLevel(config.logLevel);
  config.notes.forEach((note) => tool.log.info(`${tool.flags.config}: ${note}`));
  warnOfOpenAddresses(config, tool.log);
  await route(config, tool);
});

async function route(config: RouterConfig, { flags, log, print, signal, fail }: RouterTool) {
  await using stack = new AsyncDisposableStack();
  const close = <T extends { close(): void }>(socket: T) =>
    stack.adopt(socket, () => socket.close());
  const { curve } = config;

  const url = flags.mongoUrl || config.database.url;
  const journal = url ? await connectJournal(url, config, { stack, signal, log }) : undefined;
  if (curve?.clientKeys) close(await startZapHandler(curve.clientKeys, log)).done.catch(fail);
  const outputs = [];
  for (const uri of config.publish) {
    const output = close(await openOutput(uri, curve));
    outputs.push(output);
    await print(` [*] Publishing on ${output.endpoint}`);
  }
  const stream = startStream(journal, outputs, fail);

  const inputs: ZmqInput[] = [];
  const aggregator = config.pull
    ? [{ namespace: "local", uri: config.pull, type: "PULL" as const }]
    : [];
  for (const feed of [...aggregator, ...config.zmq]) {
    const input = close(await openZmqInput(feed, { stream, log, curve }));
    input.done.catch(fail);
    inputs.push(input);
    await print(` [*] Taking events (${feed.type}) on ${input.endpoint}`);
  }
  const queues = config.amqp.map((feed) =>
    feedAll(feed, { stream, flags, signal, log }).catch((error) =>
      error === signal.reason || fail(error)
    )
  );
  for (const { queue_name, url } of config.amqp) {
    await print(` [*] Taking events from queue ${queue_name} of ${nameOf(url)}`);
  }
  const last = journal && await throughOutages(journal.last, { signal, log, isFinal });
  await print(
    journal
      ? ` [*] Journal in ${withoutPassword(url!)}, last number ${last}`
      : " [*] No MongoDB is configured: events are neither numbered nor journaled",
  );
  stack.use(watch({ name: "router", works: true, trouble: () => undefined }));
  const inHand = () => stream.inHand.pushed + stream.inHand.awaited;
  stack.use(gauge("event_sink_in_hand_messages", "Events taken and not published yet", inHand, {
    messaging_system: "zeromq",
  }));
  await print(" [*] Routing events. To exit press CTRL+C");

  await aborted(signal);
  const inTime = await within(LAST_WRITE_LIMIT, finish(inputs, queues, stream));
  if (!inTime) throw new Error(`Cannot write to MongoDB: ${loss(stream)}`);
}

/** Without keys, whoever reaches an address may send events, on which handlers run, and read all of them. */
function warnOfOpenAddresses({ curve, pull, zmq, publish }: RouterConfig, log: Log) {
  if (curve) return;
  const bound = zmq.filter(({ type }) => type !== "SUB").map(({ uri }) => uri);
  const open = [...pull ? [pull] : [], ...bound, ...publish].filter(isReachable);
  if (open.length === 0) return;
  log.warn(`Open to everybody who reaches this machine, without CURVE keys: ${open.join(", ")}`);
}

async function connectJournal(
  url: string,
  { database, keep = KEEP_SECONDS }: RouterConfig,
  { stack, signal, log }: { stack: AsyncDisposableStack; signal: AbortSignal; log: Log },
): Promise<Journal> {
  const mongo = stack.use(await connectMongo({ url, signal, log }));
  const db = mongo.client.db(database.name);
  return await throughOutages(() => openJournal(db, { keep, log }), { signal, log, isFinal });
}

async function feedAll(
  feed: RouterConfig["amqp"][number],
  { stream, flags, signal, log }: { stream: Stream } & Pick<RouterTool, "flags" | "signal" | "log">,
) {
  await using broker = await connectBroker({ ...flags, amqpUrl: feed.url, signal, log });
  await feedFromQueue(broker, feed, stream, signal);
}

/** Publishes what was taken, and answers what was accepted. */
async function finish(inputs: ZmqInput[], queues: Promise<unknown>[], stream: Stream) {
  await Promise.all([...inputs.map((input) => input.drain()), ...queues]);
  await stream.idle();
  return true;
}

/** What becomes of the events in hand when they do not come into the journal. */
function loss({ inHand: { pushed, awaited }, room }: Stream): string {
  const more = room() ? "at least " : ""; // the inputs have not read everything
  return `events lost that were pushed: ${more}${pushed}; ` +
    `not accepted from requests and queues: ${awaited}`;
}

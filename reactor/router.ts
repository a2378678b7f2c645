#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-ffi --allow-read --allow-env
/**
 * Take events from several inputs, number and journal them, and publish them on one stream.
 *
 * Run: `deno task router -c config.json`, then `deno task fire -e zmq.test -d '{"a":1}'` in another terminal.
 * @module
 */
import {
  connectBroker,
  connectMongo,
  runTool,
  type Tool,
  within,
  withoutPassword,
} from "@event-sink/lib";
import { Publisher } from "zeromq";
import { parseConfig, readConfig, type RouterConfig } from "./config.ts";
import { databaseFlags } from "./database.ts";
import { feedFromQueue, openInput } from "./router/inputs.ts";
import { KEEP_SECONDS, openJournal } from "./journal.ts";
import { serving } from "./zmq/curve.ts";
import { bind, LINGER } from "./zmq/sockets.ts";
import { startStream, type Stream } from "./router/stream.ts";
import { letIn } from "./zmq/zap.ts";

/** Longest time that stopping may wait for MongoDB, in milliseconds. */
const LAST_WRITE_LIMIT = 8000;

await runTool(import.meta, {
  about: "Take events from several inputs and publish them on one stream.",
  notes: "Events of AMQP feeds that cannot be used: queue <queue_name>.dlq",
  flags: { ...databaseFlags, config: { ...databaseFlags.config, about: "configuration file" } },
  endsByItself: true,
}, async (tool) => {
  const config = await readConfig(tool.flags.config, parseConfig);
  if (config.logLevel && tool.flags.logLevel === "info") tool.log.setLevel(config.logLevel);
  config.notes.forEach((note) => tool.log.info(`${tool.flags.config}: ${note}`));
  await route(config, tool);
});

async function route(
  config: RouterConfig,
  { flags, log, print, ...tool }: Tool<typeof databaseFlags>,
) {
  const failure = new AbortController();
  const signal = AbortSignal.any([tool.signal, failure.signal]);
  const fail = (error: unknown) => failure.abort(error);
  await using stack = new AsyncDisposableStack();
  const { curve } = config;

  const url = flags.mongoUrl || config.database.url;
  let journal;
  if (url) {
    const mongo = stack.use(await connectMongo({ url, signal, log }));
    const db = mongo.client.db(config.database.name);
    const { keep = KEEP_SECONDS } = config;
    journal = await openJournal(db, { keep, log });
  }

  const close = <T extends { close(): void }>(socket: T) =>
    stack.adopt(socket, () => socket.close());
  if (curve?.clientKeys) close(await letIn(curve.clientKeys, log)).done.catch(fail);
  const publishers: Publisher[] = [];
  for (const uri of config.publish) {
    const publisher = close(
      new Publisher({ sendHighWaterMark: 100_000, linger: LINGER, ...serving(curve) }),
    );
    publishers.push(publisher);
    await print(` [*] Publishing on ${await bind(publisher, uri)}`);
  }
  const [only, ...others] = publishers;
  const publish = others.length === 0
    ? (text: string) => only!.send(text)
    : async (text: string) => void await Promise.all(publishers.map((each) => each.send(text)));
  const stream = startStream(journal, publish, fail);

  const inputs = [];
  const aggregator = config.pull
    ? [{ namespace: "local", uri: config.pull, type: "PULL" as const }]
    : [];
  for (const feed of [...aggregator, ...config.zmq]) {
    const input = close(await openInput(feed, { stream, log, curve }));
    inputs.push(input);
    input.done.catch(fail);
    await print(` [*] Taking events (${feed.type}) on ${input.endpoint}`);
  }
  const queues = config.amqp.map(async (feed) => {
    try {
      await using broker = await connectBroker({ url: feed.url, signal, log });
      await feedFromQueue(broker, feed, stream, signal);
    } catch (error) {
      if (error !== signal.reason) fail(error);
    }
  });
  for (const { queue_name, url } of config.amqp) {
    await print(` [*] Taking events from queue ${queue_name} of ${withoutPassword(url)}`);
  }
  await print(
    journal
      ? ` [*] Journal in ${withoutPassword(url!)}, last number ${await journal.last()}`
      : " [*] No MongoDB is configured: events are neither numbered nor journaled",
  );
  await print(" [*] Routing events. To exit press CTRL+C");

  if (!signal.aborted) {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  }
  const drained = Promise.all([...inputs.map((input) => input.drain()), ...queues]);
  const written = drained.then(() => stream.idle()).then(() => true);
  const inTime = await within(LAST_WRITE_LIMIT, written);
  failure.signal.throwIfAborted();
  if (!inTime) throw new Error(`Cannot write to MongoDB: ${loss(stream)}`);
}

/** What becomes of the events in hand when they do not come into the journal. */
function loss({ inHand: { pushed, awaited }, room }: Stream): string {
  const more = room() ? "at least " : ""; // the inputs have not read everything
  return `events lost that were pushed: ${more}${pushed}; ` +
    `not accepted from requests and queues: ${awaited}`;
}

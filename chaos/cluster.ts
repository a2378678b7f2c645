#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env --allow-read --allow-write --allow-run --allow-sys
/**
 * A trial on a cluster of three RabbitMQ 4 nodes, of which one and two are killed in turn, by a seed, while a large file goes through `send`
 * and the Mongo consumer, and other messages fail twice. It asserts that nothing is lost, nothing is stored twice, and that everything flows
 * as long as there is a majority.
 *
 * Run: `deno task cluster --rabbitmq /srv/trixie --seed 1`.
 * @module
 */
import {
  connectBroker,
  createPublisher,
  deadLetterQueue,
  numberFlag,
  pause,
  runTool,
  textFlag,
  within,
} from "@event-sink/lib";
import { type Bulk, startBulk } from "./bulk.ts";
import { type Failing, startFailing } from "./failing.ts";
import { numbers, outages } from "./faults.ts";
import { createKills } from "./kills.ts";
import { startCluster } from "./nodes.ts";
import { keepLogs } from "./part.ts";
import { recordLog } from "./record.ts";
import { startServers } from "./servers.ts";
import { queue } from "./sink.ts";
import { startTrial } from "./trial.ts";

const SIZE = 3;
/** Of so many messages of the file's, one more fails twice. */
const FAILING = 100;
/** Longest time until all that was confirmed has come out, in milliseconds: a dead letter on its way when a node dies goes out again after 3 minutes. */
const DRAIN = 300_000;

await runTool(import.meta, {
  about: "Try a cluster of three RabbitMQ 4 nodes: kill them while messages flow, and check them.",
  notes: "Dead-letter queue: <queue>.dlq of each of its queues, in which nothing may end",
  flags: {
    rabbitmq: textFlag("folder of a Debian with rabbitmq-server 4 in it, or this machine's /", {
      value: "DIR",
      default: "/",
      env: ["RABBITMQ_ROOT"],
    }),
    seed: {
      ...numberFlag("which nodes and for how long; by chance when not given", {
        default: 0,
        whole: true,
        max: 2 ** 32 - 1,
      }),
      default: undefined as number | undefined,
    },
    messages: numberFlag("lines of the file that is sent", {
      default: 100_000,
      min: FAILING,
      max: 300_000,
      whole: true,
    }),
    rate: numberFlag("lines per second at most", { default: 1000, min: 1 }),
    logs: textFlag("where to keep what the processes wrote; kept anyway when something fails", {
      value: "DIR",
      default: "",
    }),
  },
}, async ({ flags, log, print, signal }) => {
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  const { say, violated, violations } = startTrial({ print, signal });
  await print(` [*] Seed ${seed}, ${SIZE} nodes of ${flags.rabbitmq}. To exit press CTRL+C`);
  const root = flags.rabbitmq;
  await using cluster = await startCluster({ root, size: SIZE, violated, signal });
  const { amqpUrl, nodes } = cluster;
  await using store = await startServers(amqpUrl, { violated, log });
  const record = recordLog("trial");
  const closing = new AbortController();
  const stop = AbortSignal.any([signal, closing.signal]);
  const own = { amqpUrl, queueType: "quorum", log: record, signal } as const;
  await using broker = await connectBroker(own);
  await using publisher = await createPublisher(broker, { signal: stop });
  const failing = await startFailing(broker, { publisher, signal: stop });
  const { mongoUrl } = store;
  const { messages, rate } = flags;
  await using bulk = await startBulk({ amqpUrl, mongoUrl, publisher, messages, rate, violated });
  await say(`all nodes serve; ${messages} lines are on their way`);

  const queues = { [queue]: bulk.consumers, [failing.queue]: 1 };
  const kills = createKills({ cluster, broker, bulk, failing, queues, say, violated, signal });
  const sending = new AbortController();
  const loading = failing.load(rate / FAILING, AbortSignal.any([signal, sending.signal]));
  const watching = kills.watch(AbortSignal.any([signal, sending.signal]));
  // One outage of each kind at least.
  for (const outage of outages(numbers(seed), nodes.map(({ name }) => name))) {
    if (bulk.over && kills.counts.length >= 2) break;
    if (!await kills.befall(outage)) break;
  }
  sending.abort();
  const over = await within(DRAIN, Promise.all([loading, watching]));
  if (!over) violated(`messages are unconfirmed ${DRAIN / 1000} s after the last outage`);
  const { sink, failed, took } = await settle(bulk, failing, signal);
  for (const { missing, excess } of [sink, failed]) {
    for (const what of missing.slice(0, 5)) violated(`lost: ${what}`);
    for (const what of excess.slice(0, 5)) violated(`too much: ${what}`);
  }
  for (const name of Object.keys(queues).map(deadLetterQueue)) {
    const dead = await broker.createChannel().then((channel) => channel.checkQueue(name))
      .catch((error) => void violated(`${name} cannot be looked at: ${error.message}`));
    if (dead && dead.messageCount > 0) violated(`${dead.messageCount} in ${name}`);
  }
  closing.abort();
  await failing.consuming;

  await print([
    `\n${kills.account()}, with seed ${seed}`,
    `send: ${sink.accepted} confirmed, ${sink.missing.length} lost, ${sink.excess.length} stored twice`,
    `failing twice: ${failed.accepted} confirmed, ${failed.missing.length} lost, ` +
    `${failed.again} handled again after their end`,
    kills.times(),
    `Until everything was through: ${(took / 1000).toFixed(1)} s more`,
  ].join("\n"));
  if (flags.logs === "" && violations.length === 0) return;
  const parts = [...nodes, ...store.parts, ...bulk.parts, record];
  const logs = await keepLogs(flags.logs, parts);
  for (const what of violations) await print(`VIOLATED: ${what}`);
  if (violations.length === 0) return;
  throw new Error(
    `${violations.length} violations with seed ${seed}; what the processes wrote is in ${logs}`,
  );
});

/** Waits until all that was confirmed has come out, and returns the accounts and how long it took, in milliseconds. */
async function settle(bulk: Bulk, failing: Failing, signal: AbortSignal) {
  const start = performance.now();
  while (true) {
    const [sink, failed] = [await bulk.check(), failing.check()];
    const took = performance.now() - start;
    const missing = sink.missing.length + failed.missing.length;
    if (missing === 0 || took > DRAIN) return { sink, failed, took };
    await pause(1000, signal);
  }
}

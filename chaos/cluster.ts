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
} from "@event-sink/lib";
import { startBulk } from "./bulk.ts";
import { startFailing } from "./failing.ts";
import { numbers, outages } from "./faults.ts";
import { createKills } from "./kills.ts";
import { startCluster } from "./nodes.ts";
import { keepLogs } from "./part.ts";
import { startServers } from "./servers.ts";
import { queue } from "./sink.ts";
import { recordLog } from "./record.ts";

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
      value: "ROOT",
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
  const started = performance.now();
  function say(text: string) {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    return print(`${seconds.padStart(7)} s  ${text}`);
  }
  const violations: string[] = [];
  function violated(what: string) {
    if (signal.aborted) return; // Ctrl-C at a terminal ends the processes too
    violations.push(what);
    say(`VIOLATED: ${what}`).catch(() => {}); // a closed stdout ends it all
  }
  await print(` [*] Seed ${seed}, ${SIZE} nodes of ${flags.rabbitmq}. To exit press CTRL+C`);
  await using cluster = await startCluster({
    ...{ root: flags.rabbitmq, size: SIZE, violated, signal },
  });
  const { amqpUrl, nodes } = cluster;
  await using store = await startServers(amqpUrl, { violated, log });
  const record = recordLog("trial");
  const closing = new AbortController();
  const stop = AbortSignal.any([signal, closing.signal]);
  await using broker = await connectBroker({
    ...{ amqpUrl, queueType: "quorum", log: record, signal },
  });
  await using publisher = await createPublisher(broker, { signal });
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
  await Promise.all([loading, watching]);
  const drained = performance.now();
  function missing() {
    return failing.check().missing.length;
  }
  let account = await bulk.check();
  while (account.missing.length + missing() > 0 && performance.now() - drained < DRAIN) {
    await pause(1000, signal);
    account = await bulk.check();
  }
  const drain = performance.now() - drained;
  for (const what of account.missing.slice(0, 5)) violated(`lost: ${what}`);
  for (const what of account.excess.slice(0, 5)) violated(`too much: ${what}`);
  const failed = failing.check();
  for (const what of failed.missing.slice(0, 5)) violated(`lost: ${what}`);
  for (const what of failed.excess.slice(0, 5)) violated(what);
  for (const name of Object.keys(queues)) {
    const channel = await broker.createChannel();
    const { messageCount } = await channel.checkQueue(deadLetterQueue(name));
    if (messageCount > 0) violated(`${messageCount} in ${deadLetterQueue(name)}`);
  }
  closing.abort();
  await failing.consuming;

  await print(`\n${kills.account()}, with seed ${seed}`);
  await print(
    `send: ${account.accepted} confirmed, ${account.missing.length} lost, ${account.excess.length} stored twice`,
  );
  await print(
    `failing twice: ${failed.accepted} confirmed, ${failed.missing.length} lost, ${failed.again} handled again after their end`,
  );
  await print(kills.times());
  await print(`Until everything was through: ${(drain / 1000).toFixed(1)} s more`);
  if (flags.logs === "" && violations.length === 0) return;
  const parts = [...nodes, ...store.parts, ...bulk.parts, record];
  const logs = await keepLogs(flags.logs, parts);
  for (const what of violations) await print(`VIOLATED: ${what}`);
  if (violations.length === 0) return;
  throw new Error(
    `${violations.length} violations with seed ${seed}; what the processes wrote is in ${logs}`,
  );
});

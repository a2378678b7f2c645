#!/usr/bin/env -S deno run --no-prompt --allow-net --allow-env --allow-read --allow-write --allow-run --allow-sys
/**
 * A trial under faults that a seed determines: processes are killed and stopped, connections cut and half-open, channels broken, queues deleted,
 * while work flows through the sink, the pipeline and the reactor. It asserts that nothing is lost, nothing comes out twice and nothing stalls.
 *
 * Run: `deno task chaos --seed 1 --minutes 2`.
 * @module
 */
import {
  choiceFlag,
  numberFlag,
  runTool,
  textFlag,
  UsageError,
  withoutPassword,
} from "@event-sink/lib";
import { faults, numbers } from "./faults.ts";
import { keepLogs } from "./part.ts";
import { pipeline } from "./pipeline.ts";
import { reactor } from "./reactor.ts";
import { createRounds } from "./rounds.ts";
import { startServers } from "./servers.ts";
import { sink } from "./sink.ts";
import { createWorld, onBroker, type Setup } from "./world.ts";
import { startTrial } from "./trial.ts";

/** Faults of a round; then all must flow again. */
const ROUND = 20;
/** Minutes, when neither they nor a number of faults is given. */
const MINUTES = 2;

const setups: Record<string, Setup> = { sink, pipeline, reactor };

const isUrl = (text: string) => /^amqps?:\/\//.test(text);

const optional = { default: undefined as number | undefined };
const flags = {
  seed: {
    ...numberFlag("which faults, when and where; by chance when not given", {
      default: 0,
      whole: true,
      max: 2 ** 32 - 1,
    }),
    ...optional,
  },
  faults: {
    ...numberFlag("how many; as many as there is time for when not given", {
      default: 1,
      min: 1,
      whole: true,
    }),
    ...optional,
  },
  minutes: {
    ...numberFlag(`time for faults; ${MINUTES} when neither this nor --faults is given`, {
      default: MINUTES,
      min: 0.1,
    }),
    ...optional,
  },
  on: {
    ...textFlag(
      "embedded, rabbitmq (a node of its own), or the URL of a broker's virtual host for this alone: that is not killed",
      { value: "BROKER", choices: ["embedded", "rabbitmq"], default: "embedded" },
    ),
    parse(text: string) {
      if (["embedded", "rabbitmq"].includes(text) || isUrl(text)) return text;
      throw new TypeError(`expected embedded, rabbitmq or an amqp:// URL, not '${text}'`);
    },
  },
  logs: textFlag("where to keep what the processes wrote; kept anyway when something is violated", {
    value: "DIR",
    default: "",
  }),
  system: choiceFlag("sink, pipeline, reactor or all", ["all", ...Object.keys(setups)], {
    value: "NAME",
    default: "all",
  }),
};

await runTool(import.meta, {
  about: "Try the systems under faults, and check that nothing is lost, doubled or stalled.",
  flags,
}, async ({ flags, log, print, signal }) => {
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  const most = flags.faults ?? Infinity;
  const minutes = flags.minutes ?? (flags.faults === undefined ? MINUTES : Infinity);
  const { say, violated, violations } = startTrial({ print, signal });
  await print(` [*] Seed ${seed}, on ${withoutPassword(flags.on)}. To exit press CTRL+C`);
  await using servers = await startServers(flags.on, { violated, log });
  const chosen = flags.system === "all" ? Object.values(setups) : [setups[flags.system]!];
  await using _ = isUrl(flags.on) ? await borrow(flags.on, chosen) : undefined;
  await using world = await createWorld(servers, violated);
  const systems = [];
  for (const setup of chosen) systems.push({ ...setup, ...await setup.start(world) });

  const rounds = createRounds({ world, servers, systems, say, signal });
  const random = numbers(seed);
  const next = faults(random, rounds.targets);
  const end = performance.now() + minutes * 60_000;
  let count = 0;
  let flowing = await rounds.recover(performance.now());
  while (flowing && count < most && performance.now() < end && !signal.aborted) {
    await rounds.deleteQueue(random);
    count += 1 + await rounds.run(next, Math.min(ROUND, most - count) - 1, end);
    flowing = await rounds.settle();
  }
  await print(
    `\n${count} faults with seed ${seed}, on ${withoutPassword(flags.on)}\n${await rounds
      .account()}`,
  );
  const failed = violations.length > 0;
  const logs = flags.logs !== "" || failed ? await keepLogs(flags.logs, world.parts) : "";
  for (const what of violations) await print(`VIOLATED: ${what}`);
  if (!failed) return;
  throw new Error(
    `${violations.length} violations with seed ${seed}; what the processes wrote is in ${logs}`,
  );
});

/** Refuses to use what is there already, and removes in the end what there is then: the broker may be somebody's. */
async function borrow(url: string, setups: Setup[]): Promise<AsyncDisposable> {
  const exchanges = setups.flatMap(({ exchanges }) => exchanges);
  const queues = setups.flatMap(({ consumers, deadLetters }) => [
    ...Object.keys(consumers).flatMap((queue) => [
      queue,
      ...[1, 2, 3, 4, 5].map((attempt) => `${queue}.retry.${attempt}`),
    ]),
    ...deadLetters,
  ]);
  for (const queue of queues) {
    const there = await onBroker(url, (channel) => channel.checkQueue(queue)).then(
      () => true,
      (error) => error.code === 404 ? false : Promise.reject(error),
    );
    if (there) {
      throw new UsageError(`--on: there is a queue '${queue}': name an empty virtual host`);
    }
  }
  return {
    [Symbol.asyncDispose]: () =>
      onBroker(url, async (channel) => {
        for (const queue of queues) await channel.deleteQueue(queue);
        for (const exchange of exchanges) await channel.deleteExchange(exchange);
      }),
  };
}

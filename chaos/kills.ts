/**
 * Killing nodes of a cluster, and after each outage the question: does everything flow.
 * @module
 */
import { type Broker, pause, within } from "@event-sink/lib";
import type { Bulk } from "./bulk.ts";
import type { Failing } from "./failing.ts";
import type { Outage } from "./faults.ts";
import type { Cluster } from "./nodes.ts";
import type { Part } from "./part.ts";

/** Longest time until everything flows, once there is a majority, in milliseconds, */
const RECOVERY = 30_000;
/** and after which it is given up. */
const GIVE_UP = 180_000;
/** Longest wait for an answer before the question is put again. */
const ANSWER = 10_000;
/** Documents that show that `send` goes on: more than it may have unconfirmed. */
const PROGRESS = 1000;

/** What nodes are killed under. */
export interface KillsOptions {
  cluster: Cluster;
  broker: Broker;
  bulk: Bulk;
  failing: Failing;
  /** How many consumers each queue has when all is well. */
  queues: Record<string, number>;
  /** Prints a line with the time. */
  say: (text: string) => Promise<void>;
  violated: (what: string) => void;
  signal: AbortSignal;
}

/** Kills, and their account. */
export interface Kills {
  /** How many nodes each outage has befallen. */
  readonly counts: number[];
  /** Kills the nodes and waits until everything flows and all nodes serve; false when it does not come to that. */
  befall(outage: Outage): Promise<boolean>;
  /** Notes the longest time in which nothing was stored, until the signal aborts. */
  watch(signal: AbortSignal): Promise<void>;
  /** How many outages there were. */
  account(): string;
  /** What took longest. */
  times(): string;
}

/** Prepares to kill. */
export function createKills(options: KillsOptions): Kills {
  const { cluster, broker, bulk, failing, queues, say, violated, signal } = options;
  const counts: number[] = [];
  const longest = { stall: 0, recovery: 0, outage: 0 };

  async function consumersOf(queue: string): Promise<number> {
    const channel = await broker.createChannel();
    channel.on("error", () => {}); // checkQueue() fails with the same
    try {
      return (await channel.checkQueue(queue)).consumerCount;
    } finally {
      channel.close().catch(() => {}); // it may have closed with its connection
    }
  }
  async function consumed(queue: string, count: number) {
    while (await within(ANSWER, consumersOf(queue).catch(() => 0)) !== count) {
      await pause(200, signal);
    }
  }
  /** Resolves when what is put in now, and what `send` has, comes out. */
  async function flows(before: number): Promise<true> {
    await Promise.all([
      ...Object.entries(queues).map(([queue, count]) => consumed(queue, count)),
      bulk.probe().then(async (id) => {
        while (!await bulk.arrived(id)) await pause(50, signal);
      }),
      failing.probe().then(async (id) => {
        while (!failing.arrived(id)) await pause(50, signal);
      }),
      (async () => {
        while (!bulk.over && await bulk.stored() < before + PROGRESS) await pause(50, signal);
      })(),
    ]);
    return true;
  }
  /** Without a majority nothing may be confirmed; resolves when one of the nodes is started again. */
  async function minority(dead: Promise<unknown>[], back: Promise<void>[]) {
    await Promise.all(dead);
    let confirmed = false;
    bulk.probe().then(() => confirmed = true, () => {}); // rejected when the trial is stopped
    await Promise.race(back);
    if (confirmed) violated("a message was confirmed without a majority of nodes");
  }
  async function recover(since: number, what: string): Promise<boolean> {
    const flowing = await within(GIVE_UP, flows(await bulk.stored()));
    signal.throwIfAborted();
    const took = performance.now() - since;
    if (!flowing) {
      violated(`stalled: nothing flows ${inSeconds(GIVE_UP)} after ${what}`);
      return false;
    }
    await say(`everything flows ${inSeconds(took)} after ${what}`);
    longest.recovery = Math.max(longest.recovery, took);
    if (took > RECOVERY) violated(`it has taken ${inSeconds(took)} until everything flows`);
    return true;
  }
  async function served(node: Part): Promise<boolean> {
    if (await cluster.serves(node)) return true;
    violated(`${node.name} does not come back`);
    return false;
  }

  return {
    counts,
    async befall({ nodes, pause: rest }) {
      const killed = performance.now();
      const targets = nodes.map(({ name, down }) => ({
        node: cluster.nodes.find((node) => node.name === name)!,
        down,
      }));
      counts.push(targets.length);
      const names = nodes.map(({ name }) => name).join(" and ");
      const downs = nodes.map(({ down }) => inSeconds(down)).join(" and ");
      await say(`${names}: kill -9, started again after ${downs}`);
      const dead = targets.map(({ node }) => node.running.status);
      const back = targets.map(({ node, down }) => node.kill(down));
      const all = Promise.all(targets.map(({ node }) => served(node)));
      let flowing: boolean;
      if (targets.length < cluster.nodes.length / 2) {
        flowing = await recover(killed, "the kill");
      } else {
        await minority(dead, back);
        await Promise.race(targets.map(({ node }) => served(node)));
        longest.outage = Math.max(longest.outage, performance.now() - killed);
        flowing = await recover(performance.now(), "the majority was back");
      }
      const serving = (await all).every(Boolean);
      await pause(rest, signal);
      return flowing && serving;
    },
    async watch(signal) {
      let [count, since] = [await bulk.stored(), performance.now()];
      while (!signal.aborted && !bulk.over) {
        const now = await bulk.stored();
        if (now !== count) [count, since] = [now, performance.now()];
        longest.stall = Math.max(longest.stall, performance.now() - since);
        await pause(100, signal).catch(() => {}); // the signal ends the loop
      }
    },
    account() {
      const two = counts.filter((count) => count === 2).length;
      const kills = counts.reduce((sum, count) => sum + count, 0);
      return `${kills} nodes killed: ${counts.length - two} times one, ${two} times two together`;
    },
    times: () =>
      `Longest: ${inSeconds(longest.stall)} in which nothing was stored, ` +
      `${inSeconds(longest.outage)} without a majority, ` +
      `${inSeconds(longest.recovery)} until everything flowed once there was one`,
  };
}

function inSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

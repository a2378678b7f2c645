/**
 * Rounds of faults, and after each the questions: does all flow again, is everything there, once.
 * @module
 */
import { pause, within } from "@event-sink/lib";
import { describe, type Fault, type Kind } from "./faults.ts";
import { inMegabytes } from "./part.ts";
import type { Servers } from "./servers.ts";
import type { Setup, System, World } from "./world.ts";

/** Longest time until all flows after the last fault, in milliseconds, */
const RECOVERY = 30_000;
/** after which it is given up, */
const GIVE_UP = 120_000;
/** and until everything has come out: a message that has failed three times waits for half a minute. */
const DRAIN = 180_000;

/** What is tried. */
export interface RoundsOptions {
  world: World;
  servers: Servers;
  systems: (Setup & System)[];
  /** Prints a line with the time. */
  say: (text: string) => Promise<void>;
  signal: AbortSignal;
}

/** Faults in rounds. */
export interface Rounds {
  /** What each kind of fault may befall. */
  readonly targets: Partial<Record<Kind, string[]>>;
  /** Waits until something put in now has come out of every system. False when it does not. */
  recover(since: number): Promise<boolean>;
  /** Deletes a queue that is empty, and waits until it is there again and consumed. */
  deleteQueue(random: () => number): Promise<void>;
  /** Puts load on the systems while up to `most` faults befall them, none after `end`; returns how many did. */
  run(faults: Iterator<Fault, never>, most: number, end: number): Promise<number>;
  /** Waits until all that was put in has come out, once. False when it has not. */
  settle(): Promise<boolean>;
  /** The account of it all, in lines. */
  account(): Promise<string>;
}

/** Makes rounds for systems that have been started. */
export function createRounds({ world, servers, systems, say, signal }: RoundsOptions): Rounds {
  const { parts, transient, cables, violated } = world;
  const longest = { recovery: 0, drain: 0 };
  const stalls = new Map(systems.map(({ name }) => [name, 0]));
  const counts = new Map<string, number>();
  const reported = new Set<string>();
  let lastFault = performance.now();

  const targets: Rounds["targets"] = {
    "kill": [...parts.map(({ name }) => name), ...transient.keys()],
    "stop": [...parts.map(({ name }) => name), ...transient.keys()],
    "cut": [...cables.keys()],
    "unplug": [...cables.keys()],
    "half-open": [...cables.keys()],
    "channel error": [...cables].filter(([, { errors }]) => errors).map(([name]) => name),
    "full disk": servers.fillDisk ? ["up"] : [],
    "blocked": servers.block ? ["rabbitmq"] : [],
  };

  /** Resolves when the fault is over. */
  async function befall({ kind, target, lasts }: Fault): Promise<void> {
    const cable = cables.get(target);
    const part = parts.find(({ name }) => name === target);
    const short = transient.get(target);
    switch (kind) {
      case "kill":
        await (part?.kill(lasts) ?? short?.kill());
        break;
      case "stop":
        await (part ?? short)?.stop(lasts);
        break;
      case "cut":
        cable?.cut();
        break;
      case "unplug":
        cable?.cut("down");
        await pause(lasts);
        cable?.plug();
        break;
      case "half-open":
        cable?.freeze("open");
        break;
      case "channel error":
        cable?.errors?.next();
        break;
      case "full disk":
        await servers.fillDisk?.(lasts);
        break;
      case "blocked":
        await servers.block?.(lasts);
        break;
    }
    lastFault = performance.now();
  }

  /** Notes the longest time without progress, until the signal aborts. */
  async function watch({ name, progress }: Setup & System, signal: AbortSignal) {
    let last = 0;
    let since = performance.now();
    while (!signal.aborted) {
      await pause(250);
      const count = await within(1000, progress().catch(() => last)) ?? last;
      const now = performance.now();
      stalls.set(name, Math.max(stalls.get(name)!, now - since));
      if (count > last) since = now;
      last = Math.max(last, count);
    }
  }

  /** Whether all of a system's consumers are there, and what is put in comes out, before the signal aborts. */
  async function flows(system: Setup & System, signal: AbortSignal): Promise<boolean> {
    // First: what is published while a queue is missing is nobody's.
    for (const [queue, count] of Object.entries(system.consumers)) {
      while (!signal.aborted && await consumers(queue) < count) await pause(100);
    }
    await system.probe(signal);
    return !signal.aborted;
  }

  function consumers(queue: string): Promise<number> {
    return world.onBroker(async (channel) => (await channel.checkQueue(queue)).consumerCount)
      .catch(() => -1);
  }

  async function recover(since: number): Promise<boolean> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), since + GIVE_UP - performance.now());
    const stop = AbortSignal.any([limit.signal, signal]);
    const took = await Promise.all(systems.map(async (system) => {
      if (!await flows(system, stop) && !signal.aborted) {
        violated(`${system.name} is stalled, ${GIVE_UP / 1000} s after the last fault`);
      }
      return [system.name, performance.now() - since] as const;
    }));
    clearTimeout(timer);
    signal.throwIfAborted();
    await say(
      `all flows: ${took.map(([name, ms]) => `${name} after ${inSeconds(ms)}`).join(", ")}`,
    );
    for (const [name, ms] of took) {
      longest.recovery = Math.max(longest.recovery, ms);
      if (ms > RECOVERY) violated(`${name} has taken ${inSeconds(ms)} to recover`);
    }
    return !limit.signal.aborted;
  }

  async function deadLetters(queue: string): Promise<string[]> {
    return await world.onBroker(async (channel) => {
      const letter = await channel.get(queue);
      if (!letter) return [];
      const { messageCount } = await channel.checkQueue(queue);
      const { headers } = letter.properties;
      return [`${messageCount + 1} in ${queue}: ${headers?.["x-reason"]}`];
    }).catch((error) => error.code === 404 ? [] : Promise.reject(error));
  }

  return {
    targets,
    recover,
    async deleteQueue(random) {
      const queues = systems.flatMap((system) => Object.keys(system.consumers));
      const queue = queues[Math.floor(random() * queues.length)]!;
      await say(`${queue}: deleted`);
      await world.onBroker((channel) => channel.deleteQueue(queue, { ifEmpty: true }));
      await recover(performance.now());
    },
    async run(faults, most, end) {
      const over = new AbortController();
      const stop = AbortSignal.any([over.signal, signal]);
      const loads = systems.map((system) => system.load(stop));
      const watches = systems.map((system) => watch(system, stop));
      const befalling: Promise<void>[] = [];
      let count = 0;
      while (count < most && performance.now() < end && !signal.aborted) {
        const fault = faults.next().value;
        // What is down already, or has ended, cannot be killed.
        if (parts.some(({ name, up }) => name === fault.target && !up)) continue;
        await say(describe(fault));
        befalling.push(befall(fault));
        counts.set(fault.kind, (counts.get(fault.kind) ?? 0) + 1);
        count++;
        await pause(fault.pause, signal);
      }
      await Promise.all(befalling);
      over.abort();
      await Promise.all([...loads, ...watches]);
      return count;
    },
    async settle() {
      if (!await recover(lastFault)) return false;
      const start = performance.now();
      let missing: string[] = [];
      while (performance.now() - start < DRAIN) {
        signal.throwIfAborted();
        const accounts = await Promise.all(systems.map((system) => system.check()));
        missing = accounts.flatMap((account, index) =>
          account.missing.map((what) => `${systems[index]!.name}: ${what}`)
        );
        if (missing.length === 0) break;
        await pause(500);
      }
      longest.drain = Math.max(longest.drain, performance.now() - start);
      const excess = (await Promise.all(systems.map((system) => system.check())))
        .flatMap((account, index) =>
          account.excess.map((what) => `${systems[index]!.name}: ${what}`)
        );
      const dead = (await Promise.all(
        systems.flatMap(({ deadLetters: queues }) => queues.map(deadLetters)),
      )).flat();
      const problems = [
        ...missing.map((what) => `lost: ${what}`),
        ...excess.map((what) => `too much: ${what}`),
        ...dead.map((what) => `dead letters: ${what}`),
      ].filter((what) => !reported.has(what));
      problems.forEach((what) => reported.add(what));
      problems.slice(0, 10).forEach(violated);
      if (problems.length > 10) violated(`and ${problems.length - 10} more like these`);
      return missing.length === 0;
    },
    async account() {
      const accounts = await Promise.all(systems.map((system) => system.check()));
      const faults = [...counts].map(([kind, count]) => `${kind} ${count}`).join(", ");
      const errors = [...cables.values()].reduce(
        (sum, { errors }) => sum + (errors?.count ?? 0),
        0,
      );
      const memory = parts.map(({ name, peak }) => `${name} ${inMegabytes(peak)}`).join(", ");
      return [
        `Faults: ${faults} (${errors} of the channel errors found a channel in use)`,
        ...systems.map(({ name }, index) => {
          const { accepted, missing, excess } = accounts[index]!;
          return `${name}: ${accepted} accepted, ${missing.length} lost, ${excess.length} too much, ` +
            `longest stall under faults ${inSeconds(stalls.get(name)!)}`;
        }),
        `Longest recovery after the last fault of a round: ${inSeconds(longest.recovery)}; ` +
        `until everything was through: ${inSeconds(longest.drain)} more`,
        `Most memory: ${memory}`,
      ].join("\n");
    },
  };
}

function inSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/**
 * A worker's loop: claim, renew, execute, finish.
 * @module
 */
import { pause, within } from "@event-sink/lib";
import type { Log } from "../lib/log.ts";
import type { Drivers } from "./drivers.ts";
import type { Claimed, Outcome } from "./task.ts";
import type { TaskStore } from "./task_store.ts";

/** Milliseconds after which an idle worker looks for tasks although nobody woke it. */
const LONGEST_SLEEP = 30_000;
/** Milliseconds that handlers have to finish when the worker is stopped: then they are killed and given back. */
const GRACE = 6000;
/** Results that may wait for being written before no more tasks are claimed. */
const UNWRITTEN = 500;
/** Milliseconds that writing may take when the worker is stopped. */
const LAST_WRITES = 2000;

/** What a worker works with. */
export interface WorkOptions {
  store: TaskStore;
  drivers: Drivers;
  /** Handlers at the same time. */
  concurrency: number;
  maxAttempts: number;
  /** Milliseconds. */
  lease: number;
  /** Calls back when there may be tasks, until the signal aborts. */
  follow: (onWake: () => void) => Promise<void>;
  /** Is told of each attempt that has ended and is written down. */
  ended: (task: Claimed, outcome: Outcome) => void;
  signal: AbortSignal;
  log: Log;
}

interface Held {
  task: Claimed;
  stop: AbortController;
  /** When the lease ends, on this machine's monotonic clock. */
  until: number;
}

/**
 * Works until the signal aborts, and then finishes or gives back what it holds.
 *
 * @throws when it can do neither, because MongoDB is away
 */
export async function work(options: WorkOptions): Promise<void> {
  const { store, drivers, concurrency, maxAttempts, lease, follow, signal, log } = options;
  const held = new Map<string, Held>();
  const unwritten: { task: Claimed; outcome: Outcome }[] = [];
  const bell = createBell(signal);
  let writing: Promise<void> | undefined;
  let executing = 0;
  let away = false;

  function isAway(error: unknown) {
    const text = `Cannot use MongoDB: ${(error as Error).message}`;
    if (away || signal.aborted) log.debug(text);
    else log.warn(`${text}. Waiting until it can be used`);
    away = true;
  }
  function isBack() {
    if (away) log.info("MongoDB is back");
    away = false;
  }

  async function execute(task: Claimed, until: number) {
    const stop = new AbortController();
    held.set(task._id, { task, stop, until });
    executing++;
    try {
      unwritten.push({ task, outcome: await outcomeOf(task, stop.signal) });
      writing ??= write().finally(() => writing = undefined);
    } catch {
      // Killed: the lease is lost, or the task is given back.
    } finally {
      executing--;
      bell.ring();
    }
  }

  async function outcomeOf(task: Claimed, stopped: AbortSignal): Promise<Outcome> {
    if (task.attempts <= maxAttempts) return await drivers.execute(task, stopped);
    const error = `the worker ended in the middle of it, in attempt ${maxAttempts}`;
    return { status: "failed", error: task.error ?? error, permanent: true };
  }

  /** What ends during a write is written with the next one. */
  async function write() {
    for (let failures = 0; unwritten.length > 0;) {
      const batch = unwritten.slice(0, 500);
      try {
        const lost = await store.finish(batch);
        isBack();
        failures = 0;
        unwritten.splice(0, batch.length);
        for (const { task, outcome } of batch) {
          drop(task);
          if (!lost.includes(task)) options.ended(task, outcome);
        }
        bell.ring();
      } catch (error) {
        isAway(error);
        await sleep(Math.min(2000, 50 * 2 ** failures++));
      }
    }
  }

  function drop(task: Claimed) {
    if (held.get(task._id)?.task === task) held.delete(task._id);
  }

  async function renew(until: AbortSignal) {
    while (!until.aborted) {
      await pause(away ? Math.min(1000, lease / 10) : lease / 3, until).catch(() => {});
      const mine = [...held.values()];
      if (mine.length === 0) continue;
      const end = performance.now() + lease;
      try {
        const gone = new Set(await store.renew(mine.map(({ task }) => task)));
        isBack();
        for (const each of mine) {
          if (!gone.has(each.task)) each.until = end;
          else if (held.get(each.task._id) === each) lose(each);
        }
      } catch (error) {
        isAway(error);
      }
    }
  }

  function lose({ task, stop }: Held) {
    if (!unwritten.some((each) => each.task === task)) {
      log.warn(`Lost the lease of task ${task._id}: it goes to another worker`);
    }
    stop.abort();
    drop(task);
  }

  // Nobody else may take a task while its handler is at work here: the handler is killed before the lease ends.
  const watch = setInterval(() => {
    const now = performance.now() + lease / 10;
    for (const each of held.values()) if (each.until < now) lose(each);
  }, lease / 20);

  async function claim(): Promise<number> {
    const free = unwritten.length < UNWRITTEN ? concurrency - executing : 0;
    if (free <= 0) return LONGEST_SLEEP;
    const until = performance.now() + lease;
    try {
      const { claimed, next } = await store.claim(free);
      isBack();
      for (const task of claimed) execute(task, until);
      if (claimed.length > 0) return 0;
      return next ? Math.min(LONGEST_SLEEP, Math.max(0, +next - Date.now() + 1)) : LONGEST_SLEEP;
    } catch (error) {
      isAway(error);
      return 1000;
    }
  }

  const over = new AbortController();
  const renewing = renew(over.signal);
  const following = follow(() => {
    store.woken();
    bell.ring();
  });
  let end = 0;
  signal.addEventListener("abort", () => end = performance.now() + GRACE);
  while (!signal.aborted) {
    bell.quiet();
    const claiming = claim();
    // A MongoDB that hangs must not keep the worker from ending.
    const sleepFor = await Promise.race([claiming, bell.stopped]) ??
      await within(LAST_WRITES, claiming);
    if (sleepFor) await bell.wait(sleepFor);
  }
  while (held.size > 0 && performance.now() < end) {
    bell.quiet();
    await within(end - performance.now(), bell.rung());
  }
  clearInterval(watch);
  over.abort();
  const rest = [...held.values()].filter(({ task }) => !unwritten.some((w) => w.task === task));
  rest.forEach(({ stop }) => stop.abort());
  const givingBack = store.giveBack(rest.map(({ task }) => task));
  const last = Promise.allSettled([givingBack, writing, renewing, following]);
  const [givenBack] = await within(LAST_WRITES, last) ?? [];
  const left = unwritten.length + (givenBack?.status === "fulfilled" ? 0 : rest.length);
  if (left === 0) return;
  throw new Error(`Cannot write to MongoDB: tasks that run again when their lease ends: ${left}`);
}

const sleep = (ms: number) => pause(ms, new AbortController().signal);

/** Something that sleepers wait for; a ring is not lost when it comes after `quiet` and before `wait`. */
function createBell(signal: AbortSignal) {
  let ring = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<undefined>();
  signal.addEventListener("abort", () => {
    ring.resolve();
    stopped.resolve(undefined);
  });
  return {
    /** Resolves when the signal aborts. */
    stopped: stopped.promise,
    ring: () => ring.resolve(),
    quiet: () => {
      ring = Promise.withResolvers<void>();
    },
    rung: () => ring.promise,
    wait: async (ms: number) => {
      if (!signal.aborted) await within(ms, ring.promise);
    },
  };
}

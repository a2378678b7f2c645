/**
 * A worker's loop: claim, renew, execute, finish.
 *
 * Tasks are claimed some time ahead, and written down together: a task costs less than a round trip to the database.
 * @module
 */
import { pause, within } from "@event-sink/lib";
import type { Log } from "../../lib/log.ts";
import type { Drivers } from "../handlers/drivers.ts";
import type { Claimed, Outcome } from "../queue/task.ts";
import type { TaskStore } from "../queue/worker_side.ts";

/** Milliseconds after which an idle worker looks for tasks although nobody woke it. */
const LONGEST_SLEEP = 30_000;
/** As many tasks are claimed ahead as were begun in so many milliseconds, */
const AHEAD = 100;
const MOST_AHEAD = 1000;
/** and given back when they have waited here so long nevertheless. */
const PATIENCE = 1000;
/** Milliseconds that handlers have to finish when the worker is stopped: then they are killed and given back. */
const GRACE = 6000;
/** Tasks and characters of their events in hand above which no more are claimed. */
const MOST_HELD = 3000;
const HELD_SIZE = 64_000_000;
/** Results that are written at once. */
const WRITTEN_AT_ONCE = 500;
/** Milliseconds that writing may take when the worker is stopped. */
const LAST_WRITES = 2000;

/** An attempt that is over. */
export interface Ended {
  task: Claimed;
  outcome: Outcome;
}

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
  /** Is told of the attempts that have ended and are written down. */
  ended: (attempts: Ended[]) => void;
  signal: AbortSignal;
  log: Log;
}

interface Held {
  task: Claimed;
  /** Tasks of one entry may be executed in one go. */
  entry: string;
  /** When it was claimed and when the lease ends, on this machine's monotonic clock. */
  since: number;
  until: number;
  /** Kills its handler, when that is at work. */
  stop?: AbortController;
}

/**
 * Works until the signal aborts, and then finishes or gives back what it holds.
 *
 * @throws when it can do neither, because MongoDB is away
 */
export async function work(options: WorkOptions): Promise<void> {
  const { store, drivers, concurrency, maxAttempts, lease, follow, signal, log } = options;
  /** All whose leases are this worker's. */
  const held = new Map<string, Held>();
  /** Those whose handlers have not begun. */
  let ready: Held[] = [];
  /** Those whose handlers have ended. */
  const unwritten: Ended[] = [];
  const bell = createBell(signal);
  const pace = createPace();
  /** Those that nobody can have before their leases end. */
  let notReturned = 0;
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

  function isFull(): boolean {
    const sizes = [...held.values()].map(({ task }) => task.size);
    return sizes.length > MOST_HELD || sizes.reduce((sum, size) => sum + size, 0) > HELD_SIZE;
  }

  async function claim(): Promise<number> {
    const ahead = pace.ahead();
    const room = concurrency - executing + ahead - ready.length;
    // Not for each that ends: for half of them at a time.
    if (room <= ahead / 2 || isFull()) return LONGEST_SLEEP;
    const since = performance.now();
    try {
      const { claimed, next } = await store.claim(room);
      isBack();
      for (const task of claimed) {
        const each = { task, entry: JSON.stringify(task.entry), since, until: since + lease };
        held.set(task._id, each);
        if (task.attempts <= maxAttempts) ready.push(each);
        else ended(task, crashed(task));
      }
      begin();
      if (claimed.length > 0) return 0;
      return next ? Math.min(LONGEST_SLEEP, Math.max(0, +next - Date.now() + 1)) : LONGEST_SLEEP;
    } catch (error) {
      isAway(error);
      return 1000;
    }
  }

  function crashed({ error }: Claimed): Outcome {
    const text = `the worker ended in the middle of it, in attempt ${maxAttempts}`;
    return { status: "failed", error: error ?? text, permanent: true };
  }

  /** Executes what is ready, as far as there is room. */
  function begin() {
    while (executing < concurrency && ready.length > 0 && !signal.aborted) {
      const { task, entry } = ready[0]!;
      const size = drivers.batch(task.entry);
      const batch: Held[] = [];
      ready = ready.filter((each) =>
        each.entry !== entry || batch.length === size || batch.push(each) === 0
      );
      execute(batch);
    }
  }

  async function execute(batch: Held[]) {
    executing++;
    pace.begun(batch.length);
    const stop = new AbortController();
    const started = new Date();
    for (const each of batch) {
      each.stop = stop;
      each.task.started = started;
    }
    const open = new Set(batch);
    await drivers.execute(batch.map(({ task }) => task), {
      signal: stop.signal,
      ended(index, outcome) {
        open.delete(batch[index]!);
        ended(batch[index]!.task, outcome);
      },
      left(from) {
        const rest = batch.slice(from);
        rest.forEach((each) => open.delete(each));
        putBack(rest);
      },
    });
    executing--;
    putBack([...open]); // killed because another one's lease was lost
    bell.ring();
  }

  function putBack(tasks: Held[]) {
    const mine = tasks.filter((each) => held.get(each.task._id) === each);
    if (signal.aborted) return void giveBack(mine);
    mine.forEach((each) => delete each.stop);
    ready.unshift(...mine);
    begin();
  }

  function ended(task: Claimed, outcome: Outcome) {
    unwritten.push({ task, outcome });
    writing ??= write().finally(() => writing = undefined);
  }

  /** What ends during a write is written with the next one. */
  async function write() {
    for (let failures = 0; unwritten.length > 0;) {
      const batch = unwritten.slice(0, WRITTEN_AT_ONCE);
      try {
        const lost = await store.finish(batch);
        isBack();
        failures = 0;
        unwritten.splice(0, batch.length);
        batch.forEach(({ task }) => drop(task));
        options.ended(batch.filter(({ task }) => !lost.includes(task)));
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

  function lose(each: Held) {
    const { task, stop } = each;
    if (!unwritten.some((ended) => ended.task === task)) {
      log.warn(`Lost the lease of task ${task._id}: it goes to another worker`);
    }
    drop(task);
    ready = ready.filter((other) => other !== each);
    stop?.abort();
  }

  // Nobody else may take a task while its handler is at work here: the handler is killed before the lease ends.
  const watchLeases = setInterval(() => {
    const now = performance.now() + lease / 10;
    for (const each of held.values()) if (each.until < now) lose(each);
  }, lease / 20);
  const watchReady = setInterval(() => {
    const now = performance.now();
    if (ready.some(({ since }) => now - since > PATIENCE)) giveBack(ready.splice(0));
  }, PATIENCE / 2);

  async function giveBack(tasks: Held[]) {
    tasks.forEach(({ task }) => drop(task));
    notReturned += tasks.length;
    try {
      await store.giveBack(tasks.map(({ task }) => task));
      notReturned -= tasks.length;
    } catch (error) {
      isAway(error); // their leases run out
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
  const returned = giveBack(ready.splice(0));
  while (held.size > 0 && performance.now() < end) {
    bell.quiet();
    await within(end - performance.now(), bell.rung());
  }
  clearInterval(watchLeases);
  clearInterval(watchReady);
  over.abort();
  const written = new Set(unwritten.map(({ task }) => task));
  const rest = [...held.values()].filter(({ task }) => !written.has(task));
  rest.forEach(({ stop }) => stop?.abort());
  const last = [returned, giveBack(rest), writing, renewing, following];
  await within(LAST_WRITES, Promise.all(last));
  const left = unwritten.length + notReturned;
  if (left === 0) return;
  throw new Error(`Cannot write to MongoDB: tasks that run again when their lease ends: ${left}`);
}

const sleep = (ms: number) => pause(ms, new AbortController().signal);

/** How many tasks to claim ahead, from how many were begun of late. */
function createPace() {
  let count = 0;
  let since = performance.now();
  let ahead = 0;
  return {
    begun(tasks: number) {
      count += tasks;
    },
    ahead(): number {
      const passed = performance.now() - since;
      if (passed >= AHEAD) {
        ahead = Math.min(MOST_AHEAD, Math.floor(count * AHEAD / passed));
        count = 0;
        since += passed;
      }
      return ahead;
    },
  };
}

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

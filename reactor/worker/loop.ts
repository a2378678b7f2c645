/**
 * A worker's loop: it claims tasks, executes them and writes down what came of them, until it is stopped.
 * @module
 */
import { gauge, type Log, watch, within } from "@event-sink/lib";
import type { Drivers } from "../handlers/drivers.ts";
import type { Outcome } from "../handlers/execution.ts";
import { isFinal } from "../mongo_errors.ts";
import { claim } from "../queue/claim.ts";
import type { ClaimedTask, EndedAttempt } from "../queue/task.ts";
import type { WorkerQueue } from "../queue/worker_queue.ts";
import { type Bell, createBell } from "./bell.ts";
import { createExecutor, type Executor } from "./executor.ts";
import { createHeldTasks, type HeldTasks } from "./held_tasks.ts";
import { keepLeases } from "./lease_keeper.ts";
import { createOutage, type Outage } from "./outage.ts";
import { createPace, type Pace } from "./pace.ts";
import { createWriteBack, type WriteBack } from "./write_back.ts";

/** Milliseconds after which an idle worker looks for tasks although nobody has woken it. */
const LONGEST_SLEEP = 30_000;
/** Milliseconds after which an attempt to claim that failed is repeated. */
const CLAIM_AGAIN = 1000;
/** Milliseconds that a claimed task may wait for its handler to begin. After that other workers get it. */
const PATIENCE = 1000;
/** Milliseconds that handlers may go on after the worker was told to stop. After that they are killed and their tasks given back. */
const GRACE = 6000;
/** Milliseconds that MongoDB may then take for the last writes. */
const LAST_WRITES = 2000;

/** What a worker works with. */
export interface WorkerOptions {
  queue: WorkerQueue;
  drivers: Drivers;
  /** Handlers at the same time. */
  concurrency: number;
  /** Calls back whenever there may be new tasks, until the signal aborts. */
  follow: (onWake: () => void) => Promise<void>;
  /** Called with the attempts that have ended and are written down. */
  written: (attempts: EndedAttempt[]) => void;
  signal: AbortSignal;
  log: Log;
}

/** The parts of a worker. */
interface Parts {
  queue: WorkerQueue;
  held: HeldTasks;
  executor: Executor;
  writeBack: WriteBack;
  pace: Pace;
  bell: Bell;
  outage: Outage;
}

/**
 * Works until the signal aborts, and then finishes or gives back what it holds.
 *
 * @throws when it can do neither, because MongoDB is away; when MongoDB refuses what it is asked
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { queue, follow, signal, log } = options;
  const parts = assemble(options);
  const { held, writeBack, bell } = parts;
  const leases = keepLeases({ ...parts, log });
  using _held = gauge("event_sink_leases", "Tasks claimed and not over", () => held.count);
  using _part = watch({
    name: "worker",
    works: true,
    trouble: () => parts.outage.isAway ? "worker: MongoDB is away" : undefined,
  });
  const patience = setInterval(() => {
    const longest = performance.now() - held.oldestReady();
    if (longest > PATIENCE) writeBack.giveBack(held.takeReady());
  }, PATIENCE / 2);
  const following = follow(() => {
    queue.locks.forget();
    bell.ring();
  });
  let end = 0;
  signal.addEventListener("abort", () => end = performance.now() + GRACE);
  try {
    await claimUntilStopped(parts, signal);
  } catch (error) {
    clearInterval(patience);
    await leases.stop();
    throw error;
  }

  const returned = writeBack.giveBack(held.takeReady());
  await heldUntil(end, parts);
  clearInterval(patience);
  const rest = giveBackRest(parts);
  const last = [leases.stop(), following, returned, rest, writeBack.idle()];
  await within(LAST_WRITES, Promise.all(last));
  if (writeBack.owed === 0) return;
  const text = "Cannot write to MongoDB: tasks that run again when their lease ends";
  throw new Error(`${text}: ${writeBack.owed}`);
}

function assemble({ queue, drivers, concurrency, written, signal, log }: WorkerOptions): Parts {
  const held = createHeldTasks();
  const bell = createBell(signal);
  const pace = createPace();
  const outage = createOutage(log, signal);
  const writeBack = createWriteBack({
    queue,
    held,
    outage,
    written(attempts) {
      written(attempts);
      bell.ring();
    },
  });
  const executor = createExecutor({
    held,
    drivers,
    concurrency,
    pace,
    ended: writeBack.end,
    interrupted: writeBack.giveBack,
    room: bell.ring,
    signal,
  });
  return { queue, held, executor, writeBack, pace, bell, outage };
}

async function claimUntilStopped(parts: Parts, signal: AbortSignal) {
  const { bell } = parts;
  while (!signal.aborted) {
    bell.quiet();
    const claiming = claimMore(parts);
    // A MongoDB that hangs must not keep the worker from ending.
    const sleep = await Promise.race([claiming, bell.stopped]) ??
      await within(LAST_WRITES, claiming);
    if (sleep) await bell.wait(sleep);
  }
}

/** Claims as many tasks as there is room for; returns after how many milliseconds there may be more. */
async function claimMore({ queue, held, executor, writeBack, pace, outage }: Parts) {
  const ahead = pace.ahead();
  const room = executor.room + ahead - held.readyCount;
  // Not for each task that ends: when half of what was claimed ahead is used up.
  if (room <= ahead / 2 || held.isFull) return LONGEST_SLEEP;
  const since = performance.now();
  try {
    const { claimed, next } = await claim(queue, room);
    outage.succeeded();
    for (const task of claimed) {
      const entryKey = JSON.stringify(task.entry);
      const tooOften = task.attempts > queue.maxAttempts;
      held.add({ task, entryKey, since, until: since + queue.lease }, !tooOften);
      if (tooOften) writeBack.end(task, crashed(task, queue.maxAttempts));
    }
    executor.begin();
    if (claimed.length > 0) return 0;
    return next ? Math.min(LONGEST_SLEEP, Math.max(0, +next - Date.now() + 1)) : LONGEST_SLEEP;
  } catch (error) {
    if (isFinal(error)) throw new Error(`Cannot use MongoDB: ${(error as Error).message}`);
    outage.failed(error);
    return CLAIM_AGAIN;
  }
}

/** The outcome of a task whose last attempt ended with its worker. */
function crashed({ error }: ClaimedTask, maxAttempts: number): Outcome {
  const text = `the worker ended in the middle of it, in attempt ${maxAttempts}`;
  return { status: "failed", error: error ?? text, permanent: true };
}

/** Waits until nothing is held any more, or until that time of `performance.now()`. */
async function heldUntil(end: number, { held, bell }: Parts) {
  while (held.count > 0 && performance.now() < end) {
    bell.quiet();
    await within(end - performance.now(), bell.rung());
  }
}

/** Kills the handlers that are still at work, and gives their tasks back. */
async function giveBackRest({ held, writeBack }: Parts) {
  const unwritten = writeBack.unwritten();
  const rest = held.all().filter(({ task }) => !unwritten.has(task));
  rest.forEach(({ stop }) => stop?.abort());
  await writeBack.giveBack(rest);
}

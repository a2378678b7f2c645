/**
 * A worker ends attempts: with a result, or with another attempt later.
 * @module
 */
import { backoff } from "@event-sink/lib";
import type { AnyBulkWriteOperation } from "mongodb";
import type { Outcome } from "../handlers/execution.ts";
import { KEPT, resultOf, writeResults } from "./result.ts";
import type { ClaimedTask, EndedAttempt, Task } from "./task.ts";
import { wakeUp } from "./wake_ups.ts";
import { claimedAs, type WorkerQueue } from "./worker_queue.ts";

/** Longest delay before another attempt, in milliseconds. */
const LONGEST_DELAY = 10 * 60_000;

/**
 * Writes the results of the tasks that are over and the times of the next attempts of the others.
 *
 * The result comes first: a worker that dies in between leaves a task that is claimed again, and found to be finished then.
 *
 * @returns the tasks that this worker had lost: another one executes them
 * @throws when MongoDB is away; the same call may then be repeated
 */
export async function finish(queue: WorkerQueue, ended: EndedAttempt[]): Promise<ClaimedTask[]> {
  const finished = new Date();
  const decided = ended.map((attempt) => ({ ...attempt, again: nextAttempt(queue, attempt) }));
  const over = decided.filter(({ again }) => again === undefined);
  await writeResults(
    queue.results,
    over.map((attempt) => resultOf(attempt, { finished, worker: queue.worker })),
  );
  return await markOver(queue, decided);
}

/** When to execute the task again; undefined when it is over. */
function nextAttempt(
  { maxAttempts, retryDelay }: WorkerQueue,
  { task: { attempts }, outcome }: EndedAttempt,
): Date | undefined {
  if (outcome.status === "done" || outcome.permanent || attempts >= maxAttempts) return undefined;
  return new Date(Date.now() + backoff(attempts, { first: retryDelay, longest: LONGEST_DELAY }));
}

/** An attempt whose consequence is decided. */
type Decided = EndedAttempt & {
  /** When to execute the task again; absent when it is over. */
  again?: Date;
};

/**
 * Writes into the tasks that they are over, or when they are due again.
 *
 * @returns the tasks that this worker had lost
 * @throws when MongoDB is away
 */
export async function markOver(queue: WorkerQueue, ended: Decided[]): Promise<ClaimedTask[]> {
  if (ended.length === 0) return [];
  const { matchedCount } = await queue.tasks.bulkWrite(marksOf(ended), { ordered: false });
  const tasks = ended.map(({ task }) => task);
  const lost = matchedCount < ended.length ? await runningElsewhere(queue, tasks) : [];
  await queue.locks.release(tasks);
  if (ended.some(({ again }) => again)) await wakeUp(queue.wakeUps);
  return lost;
}

function marksOf(ended: Decided[]): AnyBulkWriteOperation<Task>[] {
  const claim = { token: "", worker: "", started: "" } as const;
  const claimAndTime = { ...claim, due: "" } as const;
  const expires = new Date(Date.now() + KEPT);
  const is = (status: Outcome["status"]) => (each: Decided) => each.outcome.status === status;
  const marks: AnyBulkWriteOperation<Task>[] = ended.filter(is("failed")).map(
    ({ task, outcome, again }) => {
      const error = outcome.error === undefined ? {} : { error: outcome.error };
      const $set = again
        ? { status: "pending" as const, due: again, ...error }
        : { status: "failed" as const, expires, ...error };
      const filter = { _id: task._id, token: task.token };
      return { updateOne: { filter, update: { $set, $unset: again ? claim : claimAndTime } } };
    },
  );
  // One write for all those that are done: each has the same new values.
  const done = ended.filter(is("done")).map(({ task }) => task);
  if (done.length > 0) {
    const update = { $set: { status: "done" as const, expires }, $unset: claimAndTime };
    marks.push({ updateMany: { filter: claimedAs(done), update } });
  }
  return marks;
}

/** Those that still run after they were marked, since marking has taken the token of every task that was ours. */
async function runningElsewhere(
  { tasks }: WorkerQueue,
  marked: ClaimedTask[],
): Promise<ClaimedTask[]> {
  const running = await tasks
    .find({ _id: { $in: marked.map(({ _id }) => _id) }, status: "running" })
    .project<{ _id: string }>({ _id: 1 })
    .toArray();
  return marked.filter((task) => running.some(({ _id }) => _id === task._id));
}

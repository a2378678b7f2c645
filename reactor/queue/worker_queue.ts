/**
 * The queue as a worker sees it: every task is executed until it is done or has failed often enough, by one worker at a time.
 *
 * A worker claims tasks under a lease, which it renews, and puts the claim's token into them. Once a lease has ended another worker may claim
 * the task, with a token of its own: then the first one can no longer renew, finish or fail it. Leases go by the clocks of the workers'
 * machines, which must agree to a fraction of a lease.
 *
 * Claiming is in `claim.ts`, renewing and giving back in `lease.ts`, finishing in `finish.ts`.
 * @module
 */
import type { Filter } from "mongodb";
import type { Collections } from "./collections.ts";
import { type Locks, openLocks } from "./locks.ts";
import type { ClaimedTask, Task } from "./task.ts";

/** How a worker claims and retries. */
export interface WorkerQueueOptions {
  /** Name of the worker, for people who look at tasks and results. */
  worker: string;
  /** Milliseconds after which a task of a dead worker goes to another. */
  lease: number;
  /** Attempts before a task has failed. */
  maxAttempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  retryDelay: number;
}

/** A worker's side of the queue. */
export interface WorkerQueue extends WorkerQueueOptions, Omit<Collections, "locks"> {
  locks: Locks;
}

/** Opens a worker's side of the queue. */
export function openWorkerQueue(
  collections: Collections,
  options: WorkerQueueOptions,
): WorkerQueue {
  return { ...collections, ...options, locks: openLocks(collections, options.lease) };
}

/**
 * Selects those of the tasks whose claims are still valid.
 *
 * Any of the tokens will do for any of the ids: a token belongs to one claim, in which each task is once.
 */
export function claimedAs(tasks: ClaimedTask[]): Filter<Task> {
  const tokens = new Set(tasks.map(({ token }) => token));
  return { _id: { $in: tasks.map(({ _id }) => _id) }, token: { $in: [...tokens] } };
}

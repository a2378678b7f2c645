/**
 * The collections of the queue in MongoDB: `tasks`, `task_locks`, `wakeups` and that of the results.
 * @module
 */
import type { Collection, Db } from "mongodb";
import type { Lock } from "./locks.ts";
import type { Result } from "./result.ts";
import type { Task } from "./task.ts";
import { openWakeUps } from "./wake_ups.ts";

/** The collections of the queue. */
export interface Collections {
  /** Tasks that are over stay for 48 hours, so that one that is added a second time is known. */
  tasks: Collection<Task>;
  results: Collection<Result>;
  /** One lock for each exclusive handler at work. */
  locks: Collection<Lock>;
  wakeUps: Collection;
}

/**
 * Opens the collections and creates them and their indexes where they are missing.
 *
 * @param resultsName the collection of the results
 * @throws when MongoDB is away
 */
export async function openCollections(db: Db, resultsName: string): Promise<Collections> {
  const tasks = db.collection<Task>("tasks");
  const results = db.collection<Result>(resultsName);
  await Promise.all([
    tasks.createIndex({ due: 1 }, { sparse: true }),
    tasks.createIndex({ expires: 1 }, { expireAfterSeconds: 0, sparse: true }),
    results.createIndex({ expires: 1 }, { expireAfterSeconds: 0 }),
  ]);
  return { tasks, results, locks: db.collection("task_locks"), wakeUps: await openWakeUps(db) };
}

/**
 * The tasks in MongoDB, and how they get there.
 *
 * Collections: `tasks` (with `due`: when a task is to run or, while it runs, when its lease ends; none when it is over), `task_locks` (one
 * per exclusive handler at work), `wakeups`, and that of the results. Tasks that are over stay for 48 hours, so that one that is added a
 * second time is known.
 * @module
 */
import type { Collection, Db } from "mongodb";
import type { Entry } from "../sub/filters.ts";
import type { Result } from "./result.ts";
import { openWakeUps, wakeUp } from "./wake_ups.ts";

/** A task in MongoDB. */
export interface Task {
  /** The same for the same event and handler. */
  _id: string;
  /** The event, as JSON: any event can be stored that way. */
  event: string;
  /** Its characters. */
  size: number;
  namespace: string;
  event_type: string;
  entry: Entry;
  /** The handler's lock, when it is exclusive. */
  lock?: string;
  status: "pending" | "running" | "done" | "failed";
  due?: Date;
  /** 1 during the first. */
  attempts: number;
  added: Date;
  worker?: string;
  token?: string;
  started?: Date;
  /** Of the last attempt, when that failed. */
  error?: string;
  expires?: Date;
}

/** What a task is made from. */
export type NewTask = Pick<Task, "_id" | "event" | "namespace" | "event_type" | "entry">;

/** A task that this worker holds. */
export type Claimed = Task & { token: string; started: Date };

/** What came of an execution. */
export interface Outcome {
  status: "done" | "failed";
  /** The exit code; 0 or 1 of a function. */
  code?: number;
  /** stdout, or what the function returned. */
  data?: unknown;
  /** What the handler wrote besides. */
  log?: string;
  error?: string;
  /** Another attempt would fail in the same way. */
  permanent?: boolean;
}

/** The collections of the queue. */
export interface Collections {
  tasks: Collection<Task>;
  results: Collection<Result>;
  locks: Collection<Lock>;
  wakeUps: Collection;
}

/** Of an exclusive handler at work. */
export interface Lock {
  _id: string;
  token: string;
  until: Date;
}

/** Makes collections and indexes where they are missing. */
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

/** Adds tasks and wakes the workers; one that is there already, in whatever state, stays as it is. */
export async function addTasks({ tasks, wakeUps }: Collections, news: NewTask[]): Promise<void> {
  if (news.length === 0) return;
  const now = new Date();
  await tasks.bulkWrite(
    news.map(({ _id, ...rest }) => {
      const { driver, handler, exclusive } = rest.entry;
      const lock = exclusive ? { lock: `${driver} ${handler}` } : {};
      const size = rest.event.length;
      const task = { ...rest, size, ...lock, status: "pending" as const, attempts: 0 };
      return {
        updateOne: {
          filter: { _id },
          update: { $setOnInsert: { ...task, due: now, added: now } },
          upsert: true,
        },
      };
    }),
    { ordered: false },
  );
  await wakeUp(wakeUps);
}

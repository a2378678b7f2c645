/**
 * A task: one handler to run for one event, as it stands in MongoDB.
 * @module
 */
import type { Traced } from "@event-sink/lib";
import type { Entry } from "../handlers/entry.ts";
import type { Outcome } from "../handlers/execution.ts";

/** A document of the collection `tasks`. */
export interface Task {
  /** Made from the event and its handler, so that an event that comes twice adds no second task. */
  _id: string;
  /** The event as JSON text: MongoDB would refuse some events as documents. */
  event: string;
  /** Length of `event` in characters. */
  size: number;
  namespace: string;
  event_type: string;
  /** The trace that it belongs to. */
  trace?: Traced;
  entry: Entry;
  /** The name of the handler's lock, when the handler is exclusive. */
  lock?: string;
  status: "pending" | "running" | "done" | "failed";
  /** When a waiting task is to run, or when the lease of a running one ends. Absent once the task is over. */
  due?: Date;
  /** Attempts begun so far, the running one included. */
  attempts: number;
  added: Date;
  /** Who runs it. */
  worker?: string;
  /** The claim under which it runs; see `worker_queue.ts`. */
  token?: string;
  /** When the running attempt began. */
  started?: Date;
  /** Why the last attempt failed, when it did. */
  error?: string;
  /** When MongoDB removes the task, once it is over. */
  expires?: Date;
}

/** What a task is made from. */
export type NewTask = Pick<
  Task,
  "_id" | "event" | "namespace" | "event_type" | "trace" | "entry"
>;

/** A task that this worker has claimed. */
export type ClaimedTask = Task & { token: string; started: Date };

/** An attempt that is over. */
export interface EndedAttempt {
  task: ClaimedTask;
  outcome: Outcome;
}

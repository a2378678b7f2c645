/**
 * What a worker writes back to the queue: the attempts that have ended, and the tasks that it returns unexecuted.
 * @module
 */
import { backoff, inSpan, pause } from "@event-sink/lib";
import type { Outcome } from "../handlers/execution.ts";
import { finish } from "../queue/finish.ts";
import { giveBack } from "../queue/lease.ts";
import type { ClaimedTask, EndedAttempt } from "../queue/task.ts";
import type { WorkerQueue } from "../queue/worker_queue.ts";
import { writeSpan } from "../trace.ts";
import type { HeldTask, HeldTasks } from "./held_tasks.ts";
import type { Outage } from "./outage.ts";

/** Attempts that are written at once, at most. */
const WRITTEN_AT_ONCE = 500;

/** Writes back to the queue. */
export interface WriteBack {
  /** Writes down that an attempt has ended, as soon as possible, and again and again while MongoDB is away. */
  end(task: ClaimedTask, outcome: Outcome): void;
  /** Gives tasks back whose handlers have not ended. When MongoDB is away, they stay claimed until their leases end. */
  giveBack(tasks: HeldTask[]): Promise<void>;
  /** The tasks whose attempts have ended and are not written down yet. */
  unwritten(): Set<ClaimedTask>;
  /** How many tasks are in the queue as if their handlers were still at work: neither written down nor given back. */
  readonly owed: number;
  /** Resolves when nothing is being written. */
  idle(): Promise<void>;
}

/**
 * Creates it.
 *
 * @param written called with the attempts that are written down, without those of tasks that this worker had lost
 */
export function createWriteBack(
  { queue, held, outage, written }: {
    queue: WorkerQueue;
    held: HeldTasks;
    outage: Outage;
    written: (attempts: EndedAttempt[]) => void;
  },
): WriteBack {
  const ended: EndedAttempt[] = [];
  let writing: Promise<void> | undefined;
  let notGivenBack = 0;

  /** What ends during a write is written with the next one. */
  async function writeAll() {
    for (let failures = 0; ended.length > 0;) {
      const batch = ended.slice(0, WRITTEN_AT_ONCE);
      try {
        const causes = batch.flatMap(({ task }) => task.trace ?? []);
        const write = () => finish(queue, batch);
        const lost = await (causes.length > 0
          ? inSpan(...writeSpan("insert", queue.results.collectionName, causes), write)
          : write());
        outage.succeeded();
        failures = 0;
        ended.splice(0, batch.length);
        batch.forEach(({ task }) =>
          held.drop(task)
        );
        written(batch.filter(({ task }) => !lost.includes(task)));
      } catch (error) {
        outage.failed(error);
        await pause(backoff(++failures, { longest: 2000 }));
      }
    }
  }

  return {
    end(task, outcome) {
      ended.push({ task, outcome });
      writing ??= writeAll().finally(() => writing = undefined);
    },
    async giveBack(tasks) {
      tasks.forEach(({ task }) => held.drop(task));
      notGivenBack += tasks.length;
      try {
        await giveBack(queue, tasks.map(({ task }) => task));
        notGivenBack -= tasks.length;
      } catch (error) {
        outage.failed(error);
      }
    },
    unwritten: () => new Set(ended.map(({ task }) => task)),
    get owed() {
      return ended.length + notGivenBack;
    },
    idle: async () => await writing,
  };
}

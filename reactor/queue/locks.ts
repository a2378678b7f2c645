/**
 * The locks of exclusive handlers: at most one execution at a time, over all workers.
 *
 * A lock has a lease as its task has, and is renewed with it.
 * @module
 */
import type { Collection } from "mongodb";
import type { ClaimedTask } from "./task.ts";
import { wakeUp } from "./wake_ups.ts";

/** A document of the collection `task_locks`. */
export interface Lock {
  /** Driver and handler. */
  _id: string;
  /** The claim that has it. */
  token: string;
  /** When its lease ends. */
  until: Date;
}

/** The locks as one worker uses them. */
export interface Locks {
  /** The locks that others are known to have, and when their leases end: no need to look at the tasks behind them. */
  taken(now: Date): ReadonlyMap<string, Date>;
  /** Takes the task's lock, if it has one. Returns false when another claim has it, and notes that for `taken`. */
  acquire(task: ClaimedTask): Promise<boolean>;
  /** Renews the locks of those tasks that have one, and returns the tasks whose lock is lost. */
  renew(tasks: ClaimedTask[], until: Date): Promise<ClaimedTask[]>;
  /** Gives locks back and wakes the workers. */
  release(tasks: ClaimedTask[]): Promise<void>;
  /** Forgets which locks are taken: call it after a wake-up, since one may be free again. */
  forget(): void;
}

/**
 * Opens the locks.
 *
 * @param lease milliseconds that a lock is held without being renewed
 */
export function openLocks(
  { locks, wakeUps }: { locks: Collection<Lock>; wakeUps: Collection },
  lease: number,
): Locks {
  const taken = new Map<string, Date>();
  return {
    taken(now) {
      for (const [lock, until] of taken) if (until <= now) taken.delete(lock);
      return taken;
    },
    forget: () => taken.clear(),
    async acquire({ lock, token }) {
      if (lock === undefined) return true;
      const now = new Date();
      try {
        await locks.updateOne(
          { _id: lock, until: { $lte: now } },
          { $set: { token, until: new Date(+now + lease) } },
          { upsert: true },
        );
        return true;
      } catch (error) {
        // 11000 DuplicateKey: there is a lock of this name, and its lease has not ended.
        if ((error as { code?: number }).code !== 11000) throw error;
        const other = await locks.findOne({ _id: lock });
        taken.set(lock, other?.until ?? now);
        return false;
      }
    },
    async renew(tasks, until) {
      const lost: ClaimedTask[] = [];
      for (const task of withLock(tasks)) {
        const { lock, token } = task;
        const { matchedCount } = await locks.updateOne({ _id: lock, token }, { $set: { until } });
        if (matchedCount === 0) lost.push(task);
      }
      return lost;
    },
    async release(tasks) {
      const mine = withLock(tasks);
      if (mine.length === 0) return;
      await locks.bulkWrite(
        mine.map(({ lock, token }) => ({ deleteOne: { filter: { _id: lock, token } } })),
      );
      mine.forEach(({ lock }) => taken.delete(lock));
      await wakeUp(wakeUps);
    },
  };
}

function withLock(tasks: ClaimedTask[]): (ClaimedTask & { lock: string })[] {
  return tasks.filter((task): task is ClaimedTask & { lock: string } => task.lock !== undefined);
}

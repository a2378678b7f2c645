/**
 * The queue of tasks in MongoDB: each is executed until it is done or has failed often enough, and by one worker at a time.
 *
 * A task is claimed under a lease, which its worker renews. The claim's token stands in the task: who has lost the lease can no longer
 * renew, finish or fail it. Leases go by the clocks of the workers' machines, which must agree to a fraction of a lease.
 * @module
 */
import type { AnyBulkWriteOperation, Filter } from "mongodb";
import { KEPT, resultOf, writeResults } from "./result.ts";
import type { Claimed, Collections, Outcome, Task } from "./task.ts";
import { wakeUp } from "./wake_ups.ts";

/** Longest delay before another attempt, in milliseconds. */
const LONGEST_DELAY = 10 * 60_000;

/** Characters of events above which no more tasks are claimed together. */
const CLAIMED_SIZE = 16_000_000;

/** A worker's side of the queue. */
export interface TaskStore {
  /** Claims up to `limit` tasks that are due, fewer when they are large; `next` says when there may be more, undefined when nothing waits. */
  claim(limit: number): Promise<{ claimed: Claimed[]; next?: Date }>;
  /** Renews the leases and returns the tasks that this worker holds no longer. */
  renew(held: Claimed[]): Promise<Claimed[]>;
  /** Ends attempts: with a result, or with another attempt later. Returns those tasks that this worker held no longer. */
  finish(ended: { task: Claimed; outcome: Outcome }[]): Promise<Claimed[]>;
  /** Gives tasks back as if they had not been claimed. */
  giveBack(held: Claimed[]): Promise<void>;
  /** Forgets which exclusive handlers were at work: call it after a wake-up. */
  woken(): void;
}

/** How a worker claims. */
export interface StoreOptions {
  /** Shown in tasks and results. */
  worker: string;
  /** Milliseconds after which a task of a dead worker goes to another. */
  lease: number;
  maxAttempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  retryDelay: number;
}

/** Opens a worker's side of the queue. */
export function taskStore(
  { tasks, results, locks, wakeUps }: Collections,
  { worker, lease, maxAttempts, retryDelay }: StoreOptions,
): TaskStore {
  /** Exclusive handlers at work elsewhere, and until when at least. */
  const busy = new Map<string, Date>();

  /** Takes a handler's lock, or notes until when it is taken. */
  async function acquire(lock: string, token: string): Promise<boolean> {
    const now = new Date();
    try {
      await locks.updateOne(
        { _id: lock, until: { $lte: now } },
        { $set: { token, until: new Date(+now + lease) } },
        { upsert: true },
      );
      return true;
    } catch (error) {
      if ((error as { code?: number }).code !== 11000) throw error;
      const held = await locks.findOne({ _id: lock });
      busy.set(lock, held?.until ?? now);
      return false;
    }
  }

  async function release(held: Claimed[]): Promise<void> {
    const exclusive = held.filter(({ lock }) => lock !== undefined);
    if (exclusive.length === 0) return;
    await locks.bulkWrite(
      exclusive.map(({ lock, token }) => ({ deleteOne: { filter: { _id: lock!, token } } })),
    );
    exclusive.forEach(({ lock }) => busy.delete(lock!));
    await wakeUp(wakeUps);
  }

  async function giveBack(held: Claimed[]): Promise<void> {
    if (held.length === 0) return;
    await tasks.bulkWrite(held.map(({ _id, token, added }) => ({
      updateOne: {
        filter: { _id, token },
        update: {
          $set: { status: "pending" as const, due: added },
          $unset: { token: "", worker: "", started: "" },
          $inc: { attempts: -1 },
        },
      },
    })));
  }

  /** Those of the tasks that no longer carry their token. */
  async function lost(held: Claimed[]): Promise<Claimed[]> {
    const mine = await tasks
      .find({ _id: { $in: held.map(({ _id }) => _id) } }, { projection: { token: 1 } })
      .toArray();
    const tokens = new Map(mine.map(({ _id, token }) => [_id, token]));
    return held.filter(({ _id, token }) => tokens.get(_id) !== token);
  }

  async function claim(limit: number): Promise<{ claimed: Claimed[]; next?: Date }> {
    const now = new Date();
    for (const [lock, until] of busy) if (until <= now) busy.delete(lock);
    const free = busy.size > 0 ? { lock: { $nin: [...busy.keys()] } } : {};
    const first = await tasks
      .find({ due: { $gt: new Date(0) }, ...free }, { projection: { due: 1, lock: 1, size: 1 } })
      .sort({ due: 1 })
      .limit(limit)
      .toArray();
    const due = first.filter((task) => task.due! <= now);
    if (due.length === 0) {
      const next = Math.min(...[first[0]?.due, ...busy.values()].map((at) => at ? +at : Infinity));
      return { claimed: [], next: next < Infinity ? new Date(next) : undefined };
    }
    const seen = new Set<string>();
    let size = 0;
    const chosen = due.filter((task) => {
      // As many as are large enough together, one in any case.
      if (size > CLAIMED_SIZE || seen.has(task.lock ?? "")) return false;
      if (task.lock !== undefined) seen.add(task.lock);
      size += task.size;
      return true;
    });
    const token = crypto.randomUUID();
    const ids = chosen.map(({ _id }) => _id);
    const started = new Date();
    await tasks.updateMany(
      // Another worker's claim has moved `due` into the future.
      { _id: { $in: ids }, due: { $lte: now } },
      {
        $set: { status: "running", due: new Date(+started + lease), worker, token, started },
        $inc: { attempts: 1 },
      },
    );
    const got = await tasks.find({ _id: { $in: ids }, token }).sort({ added: 1 }).toArray();
    const claimed: Claimed[] = [];
    for (const task of got as Claimed[]) {
      if (task.lock !== undefined && !await acquire(task.lock, token)) await giveBack([task]);
      else claimed.push(task);
    }
    // Taken over from a worker that wrote the result and died before it could say so in the task.
    const finished = await settled(claimed.filter(({ attempts }) => attempts > 1));
    return {
      claimed: claimed.filter((task) => !finished.includes(task)),
      next: now,
    };
  }

  async function settled(claimed: Claimed[]): Promise<Claimed[]> {
    if (claimed.length === 0) return [];
    const there = await results
      .find({ _id: { $in: claimed.map(({ _id }) => _id) } }, {
        projection: { status: 1, attempts: 1 },
      })
      .toArray();
    const over = claimed.filter((task) =>
      there.some(({ _id, attempts }) => _id === task._id && attempts >= task.attempts - 1)
    );
    const status = new Map(there.map((result) => [result._id, result.status]));
    await mark(over.map((task) => ({ task, outcome: { status: status.get(task._id)! } })));
    return over;
  }

  /** Says in the tasks that they are over, or when they are due again. */
  async function mark(
    ended: { task: Claimed; outcome: Outcome; again?: Date }[],
  ): Promise<Claimed[]> {
    if (ended.length === 0) return [];
    const gone = { token: "", worker: "", started: "" } as const;
    const over = { ...gone, due: "" } as const;
    const expires = new Date(Date.now() + KEPT);
    // One write for all that are simply done.
    const done = ended.filter(({ outcome }) => outcome.status === "done").map(({ task }) => task);
    const failed = ended.filter(({ outcome }) => outcome.status === "failed");
    const writes: AnyBulkWriteOperation<Task>[] = failed.map(({ task, outcome, again }) => {
      const error = outcome.error === undefined ? {} : { error: outcome.error };
      const $set = again
        ? { status: "pending" as const, due: again, ...error }
        : { status: "failed" as const, expires, ...error };
      const filter = { _id: task._id, token: task.token };
      return { updateOne: { filter, update: { $set, $unset: again ? gone : over } } };
    });
    if (done.length > 0) {
      const update = { $set: { status: "done" as const, expires }, $unset: over };
      writes.push({ updateMany: { filter: heldAs(done), update } });
    }
    const { matchedCount } = await tasks.bulkWrite(writes, { ordered: false });
    const held = ended.map(({ task }) => task);
    const missing = matchedCount < ended.length ? await stillRunningElsewhere(held) : [];
    await release(held);
    if (ended.some(({ again }) => again)) await wakeUp(wakeUps);
    return missing;
  }

  /** After `mark`, in which every task that was ours has lost its token. */
  async function stillRunningElsewhere(held: Claimed[]): Promise<Claimed[]> {
    const running = await tasks
      .find({ _id: { $in: held.map(({ _id }) => _id) }, status: "running" })
      .project<{ _id: string }>({ _id: 1 })
      .toArray();
    return held.filter((task) => running.some(({ _id }) => _id === task._id));
  }

  return {
    claim,
    giveBack: async (held) => {
      await giveBack(held);
      await release(held);
      if (held.length > 0) await wakeUp(wakeUps);
    },
    async renew(held) {
      if (held.length === 0) return [];
      const until = new Date(Date.now() + lease);
      const { matchedCount } = await tasks.updateMany(heldAs(held), { $set: { due: until } });
      const gone = matchedCount < held.length ? await lost(held) : [];
      const exclusive = held.filter(({ lock }) => lock !== undefined);
      for (const task of exclusive) {
        const { lock, token } = task;
        const kept = await locks.updateOne({ _id: lock!, token }, { $set: { until } });
        if (kept.matchedCount === 0 && !gone.includes(task)) gone.push(task);
      }
      return gone;
    },
    async finish(ended) {
      const finished = new Date();
      const judged = ended.map(({ task, outcome }) => {
        const again = outcome.status === "failed" && !outcome.permanent &&
          task.attempts < maxAttempts;
        const delay = Math.min(LONGEST_DELAY, retryDelay * 2 ** (task.attempts - 1)) *
          (0.75 + Math.random() / 2);
        return { task, outcome, again: again ? new Date(+finished + delay) : undefined };
      });
      const over = judged.filter(({ again }) => !again);
      await writeResults(results, over.map((each) => resultOf(each, { finished, worker })));
      return await mark(judged);
    },
    woken: () => busy.clear(),
  };
}

/** Those of the tasks whose claims are still valid. A token is of one claim, in which each task is once. */
function heldAs(held: Claimed[]): Filter<Task> {
  const tokens = new Set(held.map(({ token }) => token));
  return { _id: { $in: held.map(({ _id }) => _id) }, token: { $in: [...tokens] } };
}

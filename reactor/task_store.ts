/**
 * The queue of tasks in MongoDB: each is executed until it is done or has failed often enough, and by one worker at a time.
 *
 * A task is claimed under a lease, which its worker renews. The claim's token stands in the task: who has lost the lease can no longer
 * renew, finish or fail it. Leases go by the clocks of the workers' machines, which must agree to a fraction of a lease.
 *
 * Collections: `tasks` (with `due`: when a task is to run or, while it runs, when its lease ends; none when it is over), `task_locks` (one
 * per exclusive handler at work), `wakeups`, and that of the results. Tasks that are over stay for 48 hours, so that one that is added a
 * second time is known.
 * @module
 */
import type { AnyBulkWriteOperation, Collection, Db } from "mongodb";
import type { Entry } from "./filters.ts";
import { openWakeUps, wakeUp } from "./wake_ups.ts";

/** How long results are kept, in seconds. */
const KEPT = 48 * 3600;
/** Longest delay before another attempt, in milliseconds. */
const LONGEST_DELAY = 10 * 60_000;

/** A task in MongoDB. */
export interface Task {
  /** The same for the same event and handler. */
  _id: string;
  /** The event, as JSON: any event can be stored that way. */
  event: string;
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

/** A result in MongoDB. */
export interface Result {
  _id: string;
  event: unknown;
  namespace: string;
  event_type: string;
  handler: string;
  driver: string;
  status: "done" | "failed";
  code: number | null;
  data: unknown;
  log?: string;
  error: string | null;
  attempts: number;
  worker: string;
  added: Date;
  started: Date;
  finished: Date;
  expires: Date;
}

interface Lock {
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
      const task = { ...rest, ...lock, status: "pending" as const, attempts: 0 };
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

/** A worker's side of the queue. */
export interface TaskStore {
  /** Claims up to `limit` tasks that are due; `next` says when there may be more, undefined when nothing waits. */
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
      .find({ due: { $gt: new Date(0) }, ...free }, { projection: { due: 1, lock: 1 } })
      .sort({ due: 1 })
      .limit(limit)
      .toArray();
    const due = first.filter((task) => task.due! <= now);
    if (due.length === 0) {
      const next = Math.min(...[first[0]?.due, ...busy.values()].map((at) => at ? +at : Infinity));
      return { claimed: [], next: next < Infinity ? new Date(next) : undefined };
    }
    const seen = new Set<string>();
    const chosen = due.filter(({ lock }) => {
      if (lock === undefined) return true;
      return seen.has(lock) ? false : seen.add(lock);
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
    const expires = new Date(Date.now() + KEPT * 1000);
    const writes = ended.map(({ task: { _id, token }, outcome, again }) => {
      const error = outcome.error === undefined ? {} : { error: outcome.error };
      const set = again
        ? { status: "pending" as const, due: again, ...error }
        : { status: outcome.status, expires, ...error };
      const gone = { token: "", worker: "", started: "" } as const;
      const update = { $set: set, $unset: again ? gone : { ...gone, due: "" as const } };
      return { updateOne: { filter: { _id, token }, update } };
    });
    const { matchedCount } = await tasks.bulkWrite(
      writes as AnyBulkWriteOperation<Task>[],
      { ordered: false },
    );
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
      const tokens = { $in: [...new Set(held.map(({ token }) => token))] };
      const { matchedCount } = await tasks.updateMany(
        { _id: { $in: held.map(({ _id }) => _id) }, token: tokens },
        { $set: { due: until } },
      );
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

/** Writes results, unless there is one of a later attempt: somebody else's, after this worker lost its lease. */
async function writeResults(results: Collection<Result>, news: Result[]): Promise<void> {
  if (news.length === 0) return;
  try {
    await results.bulkWrite(
      news.map((result) => ({
        replaceOne: {
          filter: { _id: result._id, attempts: { $lte: result.attempts } },
          replacement: result,
          upsert: true,
        },
      })),
      { ordered: false },
    );
  } catch (error) {
    const { writeErrors } = error as { writeErrors?: { code: number }[] };
    if (!writeErrors?.length || !writeErrors.every(({ code }) => code === 11000)) throw error;
  }
}

function resultOf(
  { task, outcome }: { task: Claimed; outcome: Outcome },
  { finished, worker }: { finished: Date; worker: string },
): Result {
  const { namespace, event_type, attempts, added, started, entry } = task;
  return {
    _id: task._id,
    event: storable(JSON.parse(task.event), task.event),
    namespace,
    event_type,
    handler: entry.handler,
    driver: entry.driver,
    status: outcome.status,
    code: outcome.code ?? null,
    data: storable(outcome.data ?? null),
    ...(outcome.log ? { log: outcome.log } : {}),
    error: outcome.error ?? null,
    attempts,
    worker,
    added,
    started,
    finished,
    expires: new Date(+finished + KEPT * 1000),
  };
}

/** The value, or its JSON when MongoDB may refuse it: for its depth or its keys. */
function storable(value: unknown, json = JSON.stringify(value)): unknown {
  const fits = (part: unknown, depth: number): boolean => {
    if (typeof part !== "object" || part === null) return true;
    if (depth > 80) return false;
    return Object.entries(part).every(([key, each]) =>
      !/^\$|\0/.test(key) && fits(each, depth + 1)
    );
  };
  return fits(value, 0) ? value : json;
}

/**
 * A worker claims tasks that are due.
 * @module
 */
import { markOver } from "./finish.ts";
import { unclaim } from "./lease.ts";
import type { ClaimedTask, Task } from "./task.ts";
import type { WorkerQueue } from "./worker_queue.ts";

/** Characters of events after which no more tasks are claimed together: they are all held in memory. */
const CLAIMED_SIZE = 16_000_000;

/** What a claim has brought. */
export interface Claim {
  claimed: ClaimedTask[];
  /** When there may be more tasks to claim; undefined when none is waiting. */
  next?: Date;
}

/**
 * Claims up to `limit` tasks that are due; fewer when they are large.
 *
 * @throws when MongoDB is away; what was claimed by then is claimable again when its lease ends
 */
export async function claim(queue: WorkerQueue, limit: number): Promise<Claim> {
  const now = new Date();
  const taken = queue.locks.taken(now);
  const candidates = await findNext(queue, limit, [...taken.keys()]);
  const due = candidates.filter((task) => task.due! <= now);
  if (due.length === 0) {
    const next = Math.min(
      ...[candidates[0]?.due, ...taken.values()].map((at) => +(at ?? Infinity)),
    );
    return { claimed: [], next: next < Infinity ? new Date(next) : undefined };
  }
  const ids = choose(due).map(({ _id }) => _id);
  const claimed = await withLocks(queue, await take(queue, ids, now));
  const over = await finishedBefore(queue, claimed);
  return { claimed: claimed.filter((task) => !over.includes(task)), next: now };
}

type Candidate = Pick<Task, "_id" | "due" | "lock" | "size">;

/** Tasks that are not over, those that are due first at the beginning. */
async function findNext(
  { tasks }: WorkerQueue,
  limit: number,
  taken: string[],
): Promise<Candidate[]> {
  const free = taken.length > 0 ? { lock: { $nin: taken } } : {};
  return await tasks
    .find({ due: { $gt: new Date(0) }, ...free }, { projection: { due: 1, lock: 1, size: 1 } })
    .sort({ due: 1 })
    .limit(limit)
    .toArray();
}

/** One task for each lock, and no more than fit into memory together; but the first in any case. */
function choose(due: Candidate[]): Candidate[] {
  const seen = new Set<string>();
  let size = 0;
  return due.filter((task) => {
    if (size > CLAIMED_SIZE || seen.has(task.lock ?? "")) return false;
    if (task.lock !== undefined) seen.add(task.lock);
    size += task.size;
    return true;
  });
}

/** Claims those of the tasks that no other worker has claimed in the meantime. */
async function take(
  { tasks, worker, lease }: WorkerQueue,
  ids: string[],
  now: Date,
): Promise<ClaimedTask[]> {
  const token = crypto.randomUUID();
  const started = new Date();
  await tasks.updateMany(
    // Another worker's claim has moved `due` into the future.
    { _id: { $in: ids }, due: { $lte: now } },
    {
      $set: { status: "running", due: new Date(+started + lease), worker, token, started },
      $inc: { attempts: 1 },
    },
  );
  const mine = await tasks.find({ _id: { $in: ids }, token }).sort({ added: 1 }).toArray();
  return mine as ClaimedTask[];
}

/** Acquires the locks of exclusive handlers, and gives back the tasks whose lock is taken. */
async function withLocks(queue: WorkerQueue, claimed: ClaimedTask[]): Promise<ClaimedTask[]> {
  const mine: ClaimedTask[] = [];
  for (const task of claimed) {
    if (await queue.locks.acquire(task)) mine.push(task);
    else await unclaim(queue, [task]);
  }
  return mine;
}

/** The tasks of a worker that wrote their results and died before it could mark them as over: marks them now. */
async function finishedBefore(queue: WorkerQueue, claimed: ClaimedTask[]): Promise<ClaimedTask[]> {
  const repeated = claimed.filter(({ attempts }) => attempts > 1);
  if (repeated.length === 0) return [];
  const results = await queue.results
    .find({ _id: { $in: repeated.map(({ _id }) => _id) } }, {
      projection: { status: 1, attempts: 1 },
    })
    .toArray();
  const byId = new Map(results.map((result) => [result._id, result]));
  const over = repeated.filter(({ _id, attempts }) => {
    const result = byId.get(_id);
    return result && result.attempts >= attempts - 1;
  });
  await markOver(
    queue,
    over.map((task) => ({ task, outcome: { status: byId.get(task._id)!.status } })),
  );
  return over;
}

/**
 * A worker renews the leases of its tasks, or gives the tasks back.
 * @module
 */
import type { ClaimedTask } from "./task.ts";
import { wakeUp } from "./wake_ups.ts";
import { claimedAs, type WorkerQueue } from "./worker_queue.ts";

/**
 * Renews the leases, and returns the tasks that this worker has lost.
 *
 * @throws when MongoDB is away
 */
export async function renewLeases(
  queue: WorkerQueue,
  held: ClaimedTask[],
): Promise<ClaimedTask[]> {
  if (held.length === 0) return [];
  const until = new Date(Date.now() + queue.lease);
  const { matchedCount } = await queue.tasks.updateMany(claimedAs(held), { $set: { due: until } });
  const lost = matchedCount < held.length ? await findLost(queue, held) : [];
  const withoutLock = await queue.locks.renew(held, until);
  return [...new Set([...lost, ...withoutLock])];
}

/** Those of the tasks that no longer carry their token. */
async function findLost({ tasks }: WorkerQueue, held: ClaimedTask[]): Promise<ClaimedTask[]> {
  const now = await tasks
    .find({ _id: { $in: held.map(({ _id }) => _id) } }, { projection: { token: 1 } })
    .toArray();
  const tokens = new Map(now.map(({ _id, token }) => [_id, token]));
  return held.filter(({ _id, token }) => tokens.get(_id) !== token);
}

/**
 * Gives tasks back as if they had never been claimed, and wakes the other workers.
 *
 * @throws when MongoDB is away
 */
export async function giveBack(queue: WorkerQueue, held: ClaimedTask[]): Promise<void> {
  if (held.length === 0) return;
  await unclaim(queue, held);
  await queue.locks.release(held);
  await wakeUp(queue.wakeUps);
}

/** The same for tasks whose locks this worker has not got. */
export async function unclaim({ tasks }: WorkerQueue, held: ClaimedTask[]): Promise<void> {
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

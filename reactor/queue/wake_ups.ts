/**
 * Wake-ups: whoever adds a task tells the workers, through the database that holds the task.
 *
 * A small capped collection, which workers follow with a tailable cursor: one open request instead of polling, and it works on a standalone
 * MongoDB, where change streams do not. The task is stored before its wake-up, and workers need no connection to those who add tasks.
 * @module
 */
import type { Collection, Db } from "mongodb";
import { pause } from "@event-sink/lib";
import type { Log } from "../../lib/log.ts";

/** How long the server holds a request open; below the client's time limit for an answer. */
const HELD_OPEN = 10_000;

/** The collection that wake-ups go through, made where it is missing. */
export async function openWakeUps(db: Db): Promise<Collection> {
  try {
    await db.createCollection("wakeups", { capped: true, size: 65_536, max: 100 });
  } catch (error) {
    if ((error as { code?: number }).code !== 48) throw error; // 48 NamespaceExists
  }
  return db.collection("wakeups", { writeConcern: { w: 1 } });
}

/** Wakes every worker up. */
export async function wakeUp(wakeUps: Collection): Promise<void> {
  await wakeUps.insertOne({ at: new Date() });
}

/** Calls `onWake` after each wake-up, and after each time that MongoDB was away: there may have been one. Returns when the signal aborts. */
export async function followWakeUps(
  db: Db,
  { onWake, signal, log }: { onWake: () => void; signal: AbortSignal; log: Log },
): Promise<void> {
  while (!signal.aborted) {
    try {
      const wakeUps = await openWakeUps(db);
      // A tailable cursor on an empty collection ends at once.
      if (await wakeUps.countDocuments({}, { limit: 1 }) === 0) await wakeUp(wakeUps);
      const cursor = wakeUps.find({}, {
        tailable: true,
        awaitData: true,
        maxAwaitTimeMS: HELD_OPEN,
        signal,
      });
      for await (const _ of cursor) {
        cursor.readBufferedDocuments();
        onWake();
      }
    } catch (error) {
      if (signal.aborted) return;
      log.debug(`Cannot follow the wake-ups: ${(error as Error).message}`);
    }
    await pause(500, signal).catch(() => {});
    onWake();
  }
}

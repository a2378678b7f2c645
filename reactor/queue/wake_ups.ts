/**
 * Wake-ups: whoever adds a task tells the workers so, by a document in a small capped collection.
 *
 * Workers follow the collection with a tailable cursor (https://www.mongodb.com/docs/manual/core/tailable-cursors/), one open request in place
 * of polling. A change stream would do the same, but a standalone MongoDB has none.
 * @module
 */
import type { Collection, Db } from "mongodb";
import { type Log, pause } from "@event-sink/lib";

/** Milliseconds that the server holds a request open when there is nothing new. Must be below the client's `socketTimeoutMS`. */
const HELD_OPEN = 10_000;

/**
 * Opens the collection of the wake-ups, and creates it where it is missing.
 *
 * @throws when MongoDB is away
 */
export async function openWakeUps(db: Db): Promise<Collection> {
  try {
    await db.createCollection("wakeups", { capped: true, size: 65_536, max: 100 });
  } catch (error) {
    if ((error as { code?: number }).code !== 48) throw error; // 48 NamespaceExists
  }
  return db.collection("wakeups", { writeConcern: { w: 1 } });
}

/**
 * Wakes every worker. Call it after the tasks are stored.
 *
 * @throws when MongoDB is away
 */
export async function wakeUp(wakeUps: Collection): Promise<void> {
  await wakeUps.insertOne({ at: new Date() });
}

/**
 * Calls `onWake` after each wake-up, and after each outage of MongoDB, since wake-ups may have been missed in it. Returns when the signal
 * aborts.
 */
export async function followWakeUps(
  db: Db,
  { onWake, signal, log }: { onWake: () => void; signal: AbortSignal; log: Log },
): Promise<void> {
  while (!signal.aborted) {
    try {
      const wakeUps = await openWakeUps(db);
      // On an empty collection a tailable cursor would end at once.
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

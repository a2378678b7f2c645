/**
 * The journal's collections: `journal` with a document for each event, and its counter in `counters`.
 * @module
 */
import type { Db } from "mongodb";
import { eventText } from "../event.ts";

/** A document of the collection `journal`. */
interface Row {
  /** The event's number. */
  _id: number;
  at: Date;
  /** The event as JSON text: MongoDB would refuse some events as documents. */
  event: string;
  /** The call that wrote it: after a failure it tells what was written from what another router wrote. */
  by: string;
}

/** Characters of events from which on no more are read together. */
const READ_LENGTH = 8_000_000;

/** What the journal asks of MongoDB. Each function throws when MongoDB is away. */
export interface Rows {
  /** The number of the latest event; 0 when there was none. */
  last(): Promise<number>;
  /** The texts of the events after a number: see {@linkcode Journal.since}. */
  since(number: number, limit: number): Promise<string[]>;
  /**
   * Stores events, given as the heads of their texts, under the numbers after `base`, durably.
   *
   * @returns false when another router has taken one of the numbers; some of the events may be stored then
   */
  insert(base: number, heads: string[], by: string): Promise<boolean>;
  /** The numbers after `number` of the events that a call has stored, in order. */
  writtenBy(by: string, number: number): Promise<number[]>;
  /** Sets the time after which events are removed, in seconds. */
  keepFor(seconds: number): Promise<void>;
}

/** Opens the collections. */
export function openRows(db: Db): Rows {
  const rows = db.collection<Row>("journal");
  const counters = db.collection<{ _id: string; number: number }>("counters");
  return {
    async last() {
      // The counter first: it may be ahead of the events that are found then, never behind.
      const counter = await counters.findOne({ _id: "journal" });
      const [row] = await rows.find().sort({ _id: -1 }).limit(1).project({ _id: 1 }).toArray();
      return row?._id ?? counter?.number ?? 0;
    },
    async since(number, limit) {
      const found = rows.find({ _id: { $gt: number } }, { batchSize: limit }).sort({ _id: 1 })
        .limit(limit).project<{ event: string }>({ event: 1 });
      const texts: string[] = [];
      let length = 0;
      for await (const { event } of found) {
        texts.push(event);
        length += event.length;
        if (length >= READ_LENGTH) break;
      }
      return texts;
    },
    async insert(base, heads, by) {
      // The counter before the events, so that numbers go on when the last event has expired.
      const number = base + heads.length;
      await counters.updateOne({ _id: "journal" }, { $max: { number } }, { upsert: true });
      const at = new Date();
      return await insertInOrder(
        db,
        heads.map((head, index) => ({
          _id: base + index + 1,
          at,
          event: eventText(head, base + index + 1),
          by,
        })),
      );
    },
    async writtenBy(by, number) {
      const own = await rows.find({ _id: { $gt: number }, by }).sort({ _id: 1 })
        .project<{ _id: number }>({ _id: 1 }).toArray();
      return own.map(({ _id }) => _id);
    },
    keepFor: (seconds) => keepFor(db, seconds),
  };
}

/** Inserts until a number is taken already, and returns whether all were inserted: in order, so that no number is left out. */
async function insertInOrder(db: Db, documents: Row[]): Promise<boolean> {
  // Not insertMany(), which measures every document before it serialises it.
  const { writeErrors = [], writeConcernError } = await db.command({
    insert: "journal",
    documents,
    ordered: true,
    writeConcern: { w: "majority", j: true },
  });
  const [refused] = writeErrors;
  if (refused?.code === 11000) return false; // DuplicateKey
  if (refused ?? writeConcernError) throw new Error((refused ?? writeConcernError).errmsg);
  return true;
}

async function keepFor(db: Db, seconds: number): Promise<void> {
  try {
    await db.collection("journal").createIndex({ at: 1 }, { expireAfterSeconds: seconds });
  } catch (error) {
    // 85 IndexOptionsConflict, 86 IndexKeySpecsConflict: so far it was another time.
    if (![85, 86].includes((error as { code?: number }).code ?? 0)) throw error;
    const index = { keyPattern: { at: 1 }, expireAfterSeconds: seconds };
    await db.command({ collMod: "journal", index });
  }
}

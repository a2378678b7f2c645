/**
 * The journal: every event that was accepted, numbered, for a limited time, in MongoDB.
 * @module
 */
import type { Log } from "@event-sink/lib";
import type { Db } from "mongodb";
import { eventText, type ReactorEvent } from "./event.ts";

/** Events, numbered 1, 2, 3 ... without gaps. */
export interface Journal {
  /** Gives each event, its text without the last brace, the next number; resolves with them when the events are stored durably. */
  append(heads: string[]): Promise<number[]>;
  /** The events after a number, in order. */
  since(number: number, limit: number): Promise<ReactorEvent[]>;
  /** The number of the latest event, 0 when there was none. */
  last(): Promise<number>;
}

/** How to keep it. */
export interface JournalOptions {
  /** Seconds after which an event leaves the journal; left as it is when absent. */
  keep?: number;
  /** Where to say what is waited for. */
  log?: Pick<Log, "debug" | "info" | "warn">;
}

/** The event is kept as text: any JSON comes back as it was, whatever its names and its depth. */
interface Row {
  /** Its number. */
  _id: number;
  at: Date;
  event: string;
  /** The call that wrote it, which tells a write that did succeed from a number that another router took. */
  by: string;
}

interface Pending {
  heads: string[];
  resolve: (numbers: number[]) => void;
  reject: (error: unknown) => void;
}

/** Most events and characters of one insert. */
const BATCH = 5000;
const BATCH_LENGTH = 8_000_000;

/** Days that events are kept by default. */
export const KEEP_SECONDS = 7 * 24 * 3600;

/**
 * Opens the journal of a database, with the collection `journal` and the counter in `counters`.
 *
 * `append` waits while MongoDB is away. Routers may share a journal: the unique `_id` gives a number to one event only, and an insert in
 * order leaves no gaps. The counter is written before the events, so that numbers go on after the last event has expired.
 */
export async function openJournal(db: Db, options: JournalOptions = {}): Promise<Journal> {
  const { keep, log } = options;
  const rows = db.collection<Row>("journal");
  const counters = db.collection<{ _id: string; number: number }>("counters");
  if (keep !== undefined) await keepFor(db, keep);
  let known = await last();
  const pending: Pending[] = [];
  let writing = false;

  async function last(): Promise<number> {
    // The counter first: it may be ahead of the events, never behind.
    const counter = await counters.findOne({ _id: "journal" });
    const [row] = await rows.find().sort({ _id: -1 }).limit(1).project({ _id: 1 }).toArray();
    return row?._id ?? counter?.number ?? 0;
  }

  async function writeAll() {
    writing = true;
    while (pending.length > 0) {
      const batch = pending.splice(0);
      try {
        const numbers = await write(batch.flatMap(({ heads }) => heads));
        let start = 0;
        for (const { heads, resolve } of batch) {
          resolve(numbers.slice(start, start += heads.length));
        }
      } catch (error) {
        batch.forEach(({ reject }) => reject(error));
      }
    }
    writing = false;
  }

  async function write(heads: string[]): Promise<number[]> {
    const by = crypto.randomUUID();
    const numbers: number[] = [];
    for (let failures = 0; numbers.length < heads.length;) {
      try {
        if (failures > 0) await catchUp(by, numbers);
        const rest = nextChunk(heads, numbers.length);
        const base = known;
        if (rest.length > 0 && await insert(base, rest, by)) {
          known = base + rest.length;
          rest.forEach((_, index) => numbers.push(base + index + 1));
        } else await catchUp(by, numbers); // another router was faster
        if (failures > 0) log?.info("MongoDB is back");
        failures = 0;
      } catch (error) {
        if (!isOutage(error)) throw error;
        const text = `Cannot write to MongoDB: ${(error as Error).message}`;
        if (failures === 0) log?.warn(`${text}. Waiting until it can`);
        else log?.debug(text);
        const delay = Math.min(2000, 50 * 2 ** failures);
        await new Promise((resolve) => setTimeout(resolve, delay));
        failures++;
      }
    }
    return numbers;
  }

  /** False when a number was taken already. */
  async function insert(base: number, heads: string[], by: string): Promise<boolean> {
    await counters.updateOne({ _id: "journal" }, { $max: { number: base + heads.length } }, {
      upsert: true,
    });
    const at = new Date();
    // Not insertMany(), which measures every document before it serialises it.
    const { writeErrors = [], writeConcernError } = await db.command({
      insert: "journal",
      documents: heads.map((head, index): Row => {
        const number = base + index + 1;
        return { _id: number, at, event: eventText(head, number), by };
      }),
      ordered: true,
      writeConcern: { w: "majority", j: true },
    });
    const [refused] = writeErrors;
    if (refused?.code === 11000) return false;
    if (refused ?? writeConcernError) throw new Error((refused ?? writeConcernError).errmsg);
    return true;
  }

  /** Finds out what is stored already of this call's events, and which number is the last one. */
  async function catchUp(by: string, numbers: number[]) {
    const own = await rows.find({ _id: { $gt: numbers.at(-1) ?? known }, by }).sort({ _id: 1 })
      .project<{ _id: number }>({ _id: 1 }).toArray();
    numbers.push(...own.map(({ _id }) => _id));
    known = Math.max(known, await last());
  }

  function append(heads: string[]): Promise<number[]> {
    if (heads.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      pending.push({ heads, resolve, reject });
      if (!writing) writeAll();
    });
  }

  return {
    append,
    async since(number, limit) {
      const found = await rows.find({ _id: { $gt: number } }).sort({ _id: 1 }).limit(limit)
        .project<{ event: string }>({ event: 1 }).toArray();
      return found.map(({ event }) => JSON.parse(event));
    },
    last,
  };
}

/** What fits in one insert, whose limit is 48 MB: the events from `start`, at least one. */
function nextChunk(heads: string[], start: number): string[] {
  let length = 0;
  let end = start;
  while (end < heads.length && end - start < BATCH && length < BATCH_LENGTH) {
    length += heads[end++]!.length;
  }
  return heads.slice(start, end);
}

async function keepFor(db: Db, seconds: number) {
  try {
    await db.collection("journal").createIndex({ at: 1 }, { expireAfterSeconds: seconds });
  } catch (error) {
    // 85 IndexOptionsConflict, 86 IndexKeySpecsConflict: it was another time so far.
    if (![85, 86].includes((error as { code?: number }).code ?? 0)) throw error;
    const index = { keyPattern: { at: 1 }, expireAfterSeconds: seconds };
    await db.command({ collMod: "journal", index });
  }
}

/** Whether the server is away or in between, rather than refusing: then another attempt may do. */
function isOutage(error: unknown): boolean {
  const { name, code } = error as Error & { code?: number };
  // https://www.mongodb.com/docs/manual/reference/error-codes/: 13 Unauthorized, 18 AuthenticationFailed
  if (code === 13 || code === 18) return false;
  return !/^(BSON|MongoInvalidArgument|TypeError|RangeError|MongoClientClosed|MongoTopologyClosed)/
    .test(name);
}

/**
 * The journal: every event that was accepted, numbered, for a limited time, in MongoDB.
 * @module
 */
import { type Log, throughOutages } from "@event-sink/lib";
import type { Db } from "mongodb";
import { isFinal } from "../mongo_errors.ts";
import { openRows, type Rows } from "./rows.ts";

/** Events, numbered 1, 2, 3 ... without gaps. */
export interface Journal {
  /**
   * Gives each event, given as the head of its text (see `event.ts`), the next number; resolves with the numbers when the events are stored
   * durably. Waits while MongoDB is away.
   *
   * @throws when MongoDB refuses to store them
   */
  append(heads: string[]): Promise<number[]>;
  /**
   * The events after a number as JSON texts, in order: `limit` at most, and as many as fit into memory together, but at least one if there is one.
   *
   * @throws when MongoDB is away
   */
  since(number: number, limit: number): Promise<string[]>;
  /**
   * The number of the latest event, 0 when there was none.
   *
   * @throws when MongoDB is away
   */
  last(): Promise<number>;
}

/** How to keep the journal. */
export interface JournalOptions {
  /** Seconds after which an event leaves the journal; when absent, what was set before stays. */
  keep?: number;
  /** Told when `append` waits for MongoDB. */
  log?: Pick<Log, "debug" | "info" | "warn">;
}

/** A call of `append` that waits. */
interface Pending {
  heads: string[];
  resolve: (numbers: number[]) => void;
  reject: (error: unknown) => void;
}

/** Events, and characters of them, that one insert takes at most: MongoDB's limit is 48 MB. */
const BATCH = 5000;
const BATCH_LENGTH = 8_000_000;

/** Seconds that events are kept by default: a week. */
export const KEEP_SECONDS = 7 * 24 * 3600;

/**
 * Opens the journal of a database.
 *
 * Routers may share a journal: the unique `_id` gives a number to one event only, and events are inserted in order, so that there are no gaps.
 *
 * @throws when MongoDB is away
 */
export async function openJournal(
  db: Db,
  { keep, log }: JournalOptions = {},
): Promise<Journal> {
  const rows = openRows(db);
  if (keep !== undefined) await rows.keepFor(keep);
  const write = createWriter(rows, await rows.last(), log);
  const pending: Pending[] = [];
  let writing = false;

  /** What is appended during a write is written with the next one. */
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

  return {
    append(heads) {
      if (heads.length === 0) return Promise.resolve([]);
      return new Promise((resolve, reject) => {
        pending.push({ heads, resolve, reject });
        if (!writing) writeAll();
      });
    },
    since: rows.since,
    last: rows.last,
  };
}

/**
 * Returns a function that stores events and returns their numbers, one call at a time.
 *
 * @param known the number of the latest event, as far as this router knows
 */
function createWriter(rows: Rows, known: number, log: JournalOptions["log"]) {
  /** Finds out which events of this call are stored already, and what the latest number is. */
  async function lookUp(by: string, numbers: number[]) {
    numbers.push(...await rows.writtenBy(by, numbers.at(-1) ?? known));
    known = Math.max(known, await rows.last());
  }

  return async function write(heads: string[]): Promise<number[]> {
    const by = crypto.randomUUID();
    const numbers: number[] = [];
    async function writeChunk(isFirstAttempt: boolean) {
      if (!isFirstAttempt) await lookUp(by, numbers);
      const rest = nextChunk(heads, numbers.length);
      const base = known;
      if (rest.length > 0 && await rows.insert(base, rest, by)) {
        known = base + rest.length;
        rest.forEach((_, index) => numbers.push(base + index + 1));
      } else await lookUp(by, numbers); // another router was faster
    }
    while (numbers.length < heads.length) {
      let attempts = 0;
      const outage = { log, isFinal, doing: "write to MongoDB", longest: 2000 };
      await throughOutages(() => writeChunk(attempts++ === 0), outage);
    }
    return numbers;
  };
}

/** The events from `start` that fit in one insert, at least one. */
function nextChunk(heads: string[], start: number): string[] {
  let length = 0;
  let end = start;
  while (end < heads.length && end - start < BATCH && length < BATCH_LENGTH) {
    length += heads[end++]!.length;
  }
  return heads.slice(start, end);
}

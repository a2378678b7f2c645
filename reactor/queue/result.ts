/**
 * A result: what came of a task, as it stands in MongoDB.
 * @module
 */
import { calculateObjectSize } from "bson";
import type { Collection } from "mongodb";
import type { EndedAttempt } from "./task.ts";

/** Bytes that the event of a result takes as a document; a larger one stands there as text. MongoDB's limit is 16 MiB for the whole result. */
const LARGEST_DOCUMENT = 4_000_000;

/** Characters of JSON that are below {@linkcode LARGEST_DOCUMENT} in any case: `1,` and `{}` have some 14 bytes in BSON, with their index. */
const SURELY_SMALL = LARGEST_DOCUMENT / 8;

/** How long results, and tasks that are over, are kept, in milliseconds. */
export const KEPT = 48 * 3600 * 1000;

/** A document of the collection of the results. */
export interface Result {
  /** The task's, so that a task has one result at most. */
  _id: string;
  /** The event; as JSON text when MongoDB might refuse it as a document. */
  event: unknown;
  namespace: string;
  event_type: string;
  handler: string;
  driver: string;
  status: "done" | "failed";
  /** The exit code; 0 or 1 for a function, null when the handler did not end by itself. */
  code: number | null;
  /** stdout, or what the function returned; as JSON text when MongoDB might refuse it as a document. */
  data: unknown;
  /** stderr, or what the function wrote to the console. */
  log?: string;
  error: string | null;
  attempts: number;
  /** Who executed it. */
  worker: string;
  /** When the task was added. */
  added: Date;
  started: Date;
  finished: Date;
  /** When MongoDB removes the result. */
  expires: Date;
}

/**
 * Writes results, each exactly once for its task: the `_id` is the task's. One that is there already is replaced, unless it is of a later
 * attempt, which another worker has made after this one had lost its lease.
 *
 * @throws when MongoDB is away; the same call may then be repeated
 */
export async function writeResults(
  results: Collection<Result>,
  newResults: Result[],
): Promise<void> {
  if (newResults.length === 0) return;
  const duplicates = await duplicatesOf(() => results.insertMany(newResults, { ordered: false }));
  const repeated = newResults.filter((_, index) => duplicates.has(index));
  if (repeated.length === 0) return;
  // With `upsert`, since the result that is there may expire at this moment. A result of a later attempt does not match the filter: the
  // upsert is then refused as a duplicate, and the later result stays.
  const writes = repeated.map((result) => ({
    replaceOne: {
      filter: { _id: result._id, attempts: { $lte: result.attempts } },
      replacement: result,
      upsert: true,
    },
  }));
  await duplicatesOf(() => results.bulkWrite(writes, { ordered: false }));
}

/** Writes, and returns the indexes of the documents that were refused because their `_id` is there already. */
async function duplicatesOf(write: () => Promise<unknown>): Promise<Set<number>> {
  try {
    await write();
    return new Set();
  } catch (error) {
    const { writeErrors } = error as { writeErrors?: { code: number; index: number }[] };
    // 11000 DuplicateKey
    if (!writeErrors?.length || !writeErrors.every(({ code }) => code === 11000)) throw error;
    return new Set(writeErrors.map(({ index }) => index));
  }
}

/** Makes the result of a task that is over. */
export function resultOf(
  { task, outcome }: EndedAttempt,
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
    expires: new Date(+finished + KEPT),
  };
}

/** The value, or its JSON text when MongoDB may refuse it as a document: for its depth, for what its keys contain, or for its size. */
function storable(value: unknown, json = JSON.stringify(value)): unknown {
  const fits = (part: unknown, depth: number): boolean => {
    if (typeof part !== "object" || part === null) return true;
    if (depth > 80) return false;
    return Object.entries(part).every(([key, each]) =>
      !/^\$|\0/.test(key) && fits(each, depth + 1)
    );
  };
  const isSmall = () =>
    json.length <= SURELY_SMALL || calculateObjectSize({ value }) <= LARGEST_DOCUMENT;
  return fits(value, 0) && isSmall() ? value : json;
}

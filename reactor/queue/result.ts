/**
 * What came of the tasks, in MongoDB, for those who want to know.
 * @module
 */
import type { Collection } from "mongodb";
import type { Claimed, Outcome } from "./task.ts";

/** How long results are kept, in milliseconds. */
export const KEPT = 48 * 3600 * 1000;

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

/** Writes results, unless there is one of a later attempt: somebody else's, after this worker lost its lease. */
export async function writeResults(results: Collection<Result>, news: Result[]): Promise<void> {
  if (news.length === 0) return;
  const there = await refused(() => results.insertMany(news, { ordered: false }));
  const left = news.filter((_, index) => there.has(index));
  if (left.length === 0) return;
  // With `upsert`, as the result that is there may expire now; one of a later attempt is in its way.
  const writes = left.map((result) => ({
    replaceOne: {
      filter: { _id: result._id, attempts: { $lte: result.attempts } },
      replacement: result,
      upsert: true,
    },
  }));
  await refused(() => results.bulkWrite(writes, { ordered: false }));
}

/** Writes, and returns the indexes of those for whose id there is a document already. */
async function refused(write: () => Promise<unknown>): Promise<Set<number>> {
  try {
    await write();
    return new Set();
  } catch (error) {
    const { writeErrors } = error as { writeErrors?: { code: number; index: number }[] };
    if (!writeErrors?.length || !writeErrors.every(({ code }) => code === 11000)) throw error;
    return new Set(writeErrors.map(({ index }) => index));
  }
}

/** The result of a task that is over. */
export function resultOf(
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
    expires: new Date(+finished + KEPT),
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

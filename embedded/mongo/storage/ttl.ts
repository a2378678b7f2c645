/**
 * TTL indexes: documents whose date is too long ago are removed.
 * https://www.mongodb.com/docs/manual/core/index-ttl/
 * @module
 */
import { RANK } from "../values/compare.ts";
import { encodeKey, inverted } from "../values/key_encoding.ts";
import { toNumber } from "../values/numbers.ts";
import type { Catalog } from "./catalog.ts";
import { rows } from "./scan.ts";

const BATCH = 1000;

/**
 * Sweep at an interval; at once again while there is more to remove than one turn takes.
 * @param interval milliseconds between sweeps
 * @param before work that shares the interval
 * @returns stops it
 */
export function startSweeps(
  catalog: Catalog,
  interval: number,
  before: () => void,
): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const sweep = () => {
    before();
    let removed = 0;
    try {
      removed = sweepExpired(catalog);
    } catch (error) {
      catalog.engine.fail(error); // a full disk: the next sweep may fare better
    }
    timer = setTimeout(sweep, removed >= BATCH ? 0 : interval);
  };
  timer = setTimeout(sweep, interval);
  return () => clearTimeout(timer);
}

/**
 * Remove expired documents of every TTL index, some at a time so that others get their turn.
 * @param now milliseconds since the epoch
 * @returns how many were removed
 */
function sweepExpired(catalog: Catalog, now: number = Date.now()): number {
  let removed = 0;
  for (const collection of catalog.list()) {
    for (const index of collection.indexes) {
      const { expireAfterSeconds } = index.spec;
      if (expireAfterSeconds === undefined) continue;
      const until = encodeKey(new Date(now - toNumber(expireAfterSeconds as number) * 1000));
      const from = Uint8Array.of(RANK.date);
      const interval = index.descending[0]
        ? { low: inverted(until), high: Uint8Array.of(0xff - RANK.date + 1) }
        : { low: from, high: until };
      const plan = { index, intervals: [interval], reverse: false, sorted: true, exact: true };
      const expired = [];
      for (const row of rows(collection, plan)) {
        expired.push(row);
        if (expired.length >= BATCH) break;
      }
      for (const row of expired) collection.remove(row);
      removed += expired.length;
    }
  }
  return removed;
}

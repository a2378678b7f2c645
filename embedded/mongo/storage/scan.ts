/**
 * Reading along a plan. A reader keeps its position as a key, never an open SQLite statement, so it may rest between two
 * `getMore`s while others write.
 * @module
 */
import { Binary } from "bson";
import { CommandError } from "../errors.ts";
import type { Predicate } from "../language/matcher.ts";
import { sortOrder } from "../language/sort_order.ts";
import { MAX_HELD } from "../limits.ts";
import { decode, type Doc } from "../values/bson_view.ts";
import { isDoc } from "../values/compare.ts";
import type { Collection, Row } from "./collection.ts";
import type { Interval, Plan } from "./planner.ts";

const FIRST_CHUNK = 16;
const CHUNK_BYTES = 4 * 1024 * 1024;
const MAX_CHUNK = 1000;
const TOP = Uint8Array.of(0xff);

/** What a scan does and holds. */
export interface ScanStats {
  /** Documents read. */
  examined: number;
  /** Rows that are read ahead. Whoever lets the scan rest may empty it: they are read again then. */
  ahead?: unknown[];
  /** When to give up, on the clock of `performance.now()`: `maxTimeMS`. */
  deadline?: number;
}

function checkDeadline({ examined, deadline }: ScanStats): void {
  if (deadline === undefined || (examined & 63) !== 0) return;
  if (performance.now() > deadline) {
    throw new CommandError("MaxTimeMSExpired", "operation exceeded time limit");
  }
}

/** Rows of a plan, in its order, unfiltered. */
export function* rows(
  collection: Collection,
  plan: Plan,
  stats?: ScanStats,
): Generator<Row, void> {
  if (plan.union) {
    const read = new Set<number>();
    for (const branch of plan.union) {
      for (const row of rows(collection, branch, stats)) {
        if (read.has(row.rid)) continue;
        read.add(row.rid);
        yield row;
      }
    }
    return;
  }
  if (plan.index === "_id") collection.idReads++;
  else if (plan.index) plan.index.reads++;
  const seen = typeof plan.index === "object" && plan.index.multikey
    ? new Set<number>()
    : undefined;
  const intervals = plan.reverse ? [...plan.intervals].reverse() : plan.intervals;
  for (const interval of intervals) {
    for (const row of intervalRows(collection, plan, interval, stats)) {
      if (seen) {
        if (seen.has(row.rid)) continue;
        seen.add(row.rid);
      }
      if (stats) {
        stats.examined++;
        checkDeadline(stats);
      }
      yield row;
    }
  }
}

interface KeyedRow extends Row {
  key: Uint8Array;
}

function* intervalRows(
  collection: Collection,
  plan: Plan,
  interval: Interval,
  stats?: ScanStats,
): Generator<Row, void> {
  const { low } = interval;
  const high = interval.high ?? TOP;
  const read = statements(collection, plan);
  let limit = FIRST_CHUNK;
  let last: KeyedRow | undefined;
  for (;;) {
    const chunk = last ? read.next(last, low, high, limit) : read.first(low, high, limit);
    const count = chunk.length;
    if (stats) stats.ahead = chunk;
    let bytes = 0;
    for (let i = 0; i < chunk.length; i++) {
      last = chunk[i]!;
      bytes += last.doc.length;
      yield last;
    }
    const rested = chunk.length < count;
    if (count < limit && !rested) return;
    if (rested) limit = FIRST_CHUNK;
    else {
      const fitting = Math.floor(CHUNK_BYTES / (bytes / count + 1));
      limit = Math.max(1, Math.min(MAX_CHUNK, fitting, limit * 4));
    }
  }
}

function statements(collection: Collection, plan: Plan) {
  const { engine, table } = collection;
  const all = (sql: string, ...values: (Uint8Array | number)[]) =>
    engine.all(sql, ...values) as unknown as KeyedRow[];
  const down = plan.reverse;
  const [after, order] = down ? ["<", "DESC"] : [">", "ASC"];
  if (plan.index === undefined) {
    const sql = `SELECT rid, doc FROM ${table} WHERE rid ${after} ? ORDER BY rid ${order} LIMIT ?`;
    const start = down ? Number.MAX_SAFE_INTEGER : -1;
    return {
      first: (_low: Uint8Array, _high: Uint8Array, limit: number) => all(sql, start, limit),
      next: (last: KeyedRow, _low: Uint8Array, _high: Uint8Array, limit: number) =>
        all(sql, last.rid, limit),
    };
  }
  if (plan.index === "_id") {
    const select = `SELECT rid, k AS key, doc FROM ${table} WHERE`;
    const tail = `ORDER BY k ${order} LIMIT ?`;
    return {
      first: (low: Uint8Array, high: Uint8Array, limit: number) =>
        all(`${select} k >= ? AND k < ? ${tail}`, low, high, limit),
      next: (last: KeyedRow, low: Uint8Array, high: Uint8Array, limit: number) =>
        down
          ? all(`${select} k < ? AND k >= ? ${tail}`, last.key, low, limit)
          : all(`${select} k > ? AND k < ? ${tail}`, last.key, high, limit),
    };
  }
  // CROSS JOIN keeps SQLite from turning the join round.
  const index = plan.index.table;
  const select =
    `SELECT i.rid AS rid, i.key AS key, d.doc AS doc FROM ${index} i CROSS JOIN ${table} d ON d.rid = i.rid WHERE`;
  const tail = `ORDER BY i.key ${order}, i.rid ${order} LIMIT ?`;
  return {
    first: (low: Uint8Array, high: Uint8Array, limit: number) =>
      all(`${select} i.key >= ? AND i.key < ? ${tail}`, low, high, limit),
    next: (last: KeyedRow, low: Uint8Array, high: Uint8Array, limit: number) =>
      down
        ? all(
          `${select} (i.key, i.rid) < (?, ?) AND i.key >= ? ${tail}`,
          last.key,
          last.rid,
          low,
          limit,
        )
        : all(
          `${select} (i.key, i.rid) > (?, ?) AND i.key < ? ${tail}`,
          last.key,
          last.rid,
          high,
          limit,
        ),
  };
}

/** A row that matches; `doc` decoded where something needed it decoded. */
export interface Match {
  row: Row;
  doc: Doc | undefined;
}

/**
 * The rows of a plan that match, sorted as asked.
 * @param test the filter; not called when the plan is exact
 * @param sort needed only when the plan does not sort
 */
export function* matches(
  collection: Collection,
  plan: Plan,
  test: Predicate,
  sort: Doc | undefined,
  stats?: ScanStats,
): Generator<Match, void> {
  if (plan.sorted) {
    for (const row of rows(collection, plan, stats)) {
      if (plan.exact) {
        yield { row, doc: undefined };
        continue;
      }
      const doc = decode(row.doc);
      if (test(doc)) yield { row, doc };
    }
    return;
  }
  // Only positions and sort keys are kept while sorting; the documents are read again in the end.
  const order = sortOrder(sort!);
  const found: { rid: number; keys: unknown[] }[] = [];
  let bytes = 0;
  for (const row of rows(collection, plan, stats)) {
    const doc = decode(row.doc);
    if (!plan.exact && !test(doc)) continue;
    const keys = order.keys(doc);
    bytes += approximateSize(keys);
    if (bytes > MAX_HELD) {
      throw new CommandError(
        "QueryExceededMemoryLimitNoDiskUseAllowed",
        `Sort exceeded memory limit of ${MAX_HELD} bytes: an index that sorts needs no memory`,
      );
    }
    found.push({ rid: row.rid, keys });
  }
  found.sort((a, b) => order.compare(a.keys, b.keys) || a.rid - b.rid);
  for (const { rid } of found) {
    const row = collection.findRid(rid);
    if (row) yield { row, doc: undefined };
  }
}

/** About how many bytes a decoded value takes. */
function approximateSize(value: unknown): number {
  if (typeof value === "string") return 16 + value.length;
  if (Array.isArray(value)) return value.reduce((sum, item) => sum + approximateSize(item), 16);
  if (value instanceof Binary) return 16 + value.position;
  if (isDoc(value)) return approximateSize(Object.values(value)) * 2;
  return 16;
}

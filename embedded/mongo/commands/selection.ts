/**
 * Finding documents for a command: filter, sort, hint and collation checked, planned and read.
 * @module
 */
import { CommandError } from "../errors.ts";
import { expressionContext } from "../language/load_aggregation.ts";
import { compileFilter, type Predicate } from "../language/matcher.ts";
import { type Collection, refuseView } from "../storage/collection.ts";
import { type Plan, plan } from "../storage/planner.ts";
import { type Match, matches, type ScanStats } from "../storage/scan.ts";
import { type Check, documentCheck } from "../storage/validation.ts";
import type { Doc } from "../values/bson_view.ts";
import {
  fullCollation,
  stepsWithStringOrder,
  type StringOrder,
  stringOrder,
} from "../values/collation.ts";
import { equal, isDoc } from "../values/compare.ts";
import { wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { CommandContext } from "./context.ts";

/** A filter, sort, hint and collation, checked and planned. */
export interface Selection {
  plan: Plan;
  /** The order of strings; undefined: by bytes. */
  order: StringOrder | undefined;
  test: Predicate;
  filter: Doc;
  sort: Doc | undefined;
}

/** What goes with a filter. */
export interface SelectOptions {
  sort?: Doc;
  /** Name or key pattern of an index, or `{ $natural: 1 }`. */
  hint?: unknown;
  /** `let` of the command. */
  variables?: Doc;
  /** As the command has it; absent: the collection's own. */
  collation?: unknown;
}

/** Plan a query. `collection` undefined: nothing is there, but what is wrong with the query is still said. */
export async function select(
  collection: Collection | undefined,
  filter: Doc,
  options: SelectOptions,
): Promise<Selection> {
  const test = compileFilter(filter, await expressionContext(filter, options.variables));
  const { sort } = options;
  const order = orderFor(collection, options.collation);
  checkSort(sort);
  if (!collection) {
    const empty: Plan = {
      index: undefined,
      intervals: [],
      reverse: false,
      sorted: true,
      exact: true,
    };
    return { plan: empty, order, test, filter, sort };
  }
  const hint = hintName(collection, options.hint);
  const way = plan(collection, filter, { sort, hint, collated: order !== undefined });
  return { plan: way, order, test, filter, sort };
}

/** The order of strings that a command asks for, or else that its collection has. */
function orderFor(
  collection: Collection | undefined,
  collation: unknown,
): StringOrder | undefined {
  if (collation !== undefined && collation !== null) {
    if (!isDoc(collation)) throw wrongType("collation", collation, "object");
    if (Object.keys(collation).length) return stringOrder(fullCollation(collation));
  }
  return stringOrder(collection?.options.collation as Doc | undefined);
}

function checkSort(sort: Doc | undefined): void {
  if (!sort) return;
  for (const name of Object.keys(sort)) {
    const direction = sort[name];
    if (isDoc(direction)) {
      throw new CommandError("NotImplemented", "Sorting by $meta is not supported");
    }
    if (!isNum(direction)) {
      throw new CommandError("Location15974", `Illegal key in $sort specification: ${name}`);
    }
    if (Math.abs(toNumber(direction)) !== 1) {
      throw new CommandError(
        "Location15975",
        "$sort key ordering must be 1 (for ascending) or -1 (for descending)",
      );
    }
    if (name === "") {
      throw new CommandError("Location40352", "FieldPath cannot be constructed with empty string");
    }
  }
}

function hintName(collection: Collection, hint: unknown): string | undefined {
  if (hint === undefined || hint === null || (isDoc(hint) && !Object.keys(hint).length)) {
    return undefined;
  }
  if (typeof hint === "string") {
    if (hint === "_id_" || collection.indexes.some(({ spec }) => spec.name === hint)) return hint;
  } else if (isDoc(hint)) {
    if ("$natural" in hint) return "$natural";
    if (equal(hint, { _id: 1 })) return "_id_";
    const index = collection.indexes.find(({ spec }) => equal(spec.key, hint));
    if (index) return index.spec.name;
  } else throw new CommandError("FailedToParse", "Hint must be a string or an object");
  throw new CommandError(
    "BadValue",
    "error processing query: planner returned error :: caused by :: hint provided does not correspond to an existing index",
  );
}

/**
 * Find and plan for a write. When this resolves, the collection is the one that is there now: until the next `await`
 * the caller is alone with it.
 */
export async function selectForWrite(
  { services, db, body }: CommandContext,
  name: string,
  filter: Doc,
  options: SelectOptions,
): Promise<{ collection: Collection | undefined; selection: Selection; check?: Check }> {
  for (;;) {
    const collection = services.catalog.find(db, name);
    if (collection) refuseView(collection);
    const selection = await select(collection, filter, options);
    const check = await documentCheck(collection, body);
    if (services.catalog.find(db, name) === collection) return { collection, selection, check };
  }
}

/** What a selection yields, `skip` and `limit` applied. */
export function* selected(
  collection: Collection | undefined,
  selection: Selection,
  skip = 0,
  limit = 0,
  stats?: ScanStats,
): Generator<Match, void> {
  if (!collection) return;
  let n = 0;
  const { plan, test, sort, order } = selection;
  const all = matches(collection, plan, test, sort, stats);
  for (const match of order ? stepsWithStringOrder(order, all) : all) {
    if (skip > 0) {
      skip--;
      continue;
    }
    yield match;
    if (limit && ++n >= limit) return;
  }
}

/** Counts what a command reads, and ends it after its `maxTimeMS`. */
export function scanStats(body: Doc): ScanStats {
  const milliseconds = isNum(body.maxTimeMS) ? toNumber(body.maxTimeMS) : 0;
  return { examined: 0, deadline: milliseconds ? performance.now() + milliseconds : undefined };
}

/** How many documents a selection has. */
export function countSelected(
  collection: Collection | undefined,
  selection: Selection,
  skip = 0,
  limit = 0,
  stats?: ScanStats,
): number {
  if (!collection) return 0;
  let n = 0;
  if (!Object.keys(selection.filter).length) {
    n = Math.max(0, collection.count - skip);
    return limit ? Math.min(n, limit) : n;
  }
  for (const _ of selected(collection, selection, skip, limit, stats)) n++;
  return n;
}

/** Lets a scan rest between two batches: what it has read ahead is forgotten, and read again. */
export function resting(stats: ScanStats): () => void {
  return () => {
    if (stats.ahead) stats.ahead.length = 0;
  };
}

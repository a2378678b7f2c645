/**
 * `find`, `getMore`, `killCursors`, `count`, `distinct`.
 * https://www.mongodb.com/docs/manual/reference/command/nav-crud/
 * @module
 */
import { decode, type Doc, encode } from "../bson_view.ts";
import { type Collection, MAX_DOCUMENT } from "../collection.ts";
import { compare, equal, isDoc, RANK, rankOf } from "../compare.ts";
import { FIRST_BATCH, type Source } from "../cursors.ts";
import { CommandError } from "../errors.ts";
import { encodeKey } from "../key_encoding.ts";
import { expressionContext } from "../expressions.ts";
import { compileFilter, type Predicate } from "../matcher.ts";
import { isNum, toNumber } from "../numbers.ts";
import {
  checkFields,
  collectionName,
  countField,
  docField,
  flag,
  listField,
  wrongType,
} from "../options.ts";
import { walkPath } from "../paths.ts";
import { type Plan, plan } from "../planner.ts";
import { compileProjection } from "../projection.ts";
import { type Match, matches, type ScanStats } from "../scan.ts";
import { cursorBody } from "../wire.ts";
import type { CommandContext, CommandResult } from "./context.ts";

const FIND_FIELDS = [
  "filter",
  "sort",
  "projection",
  "hint",
  "skip",
  "limit",
  "batchSize",
  "singleBatch",
  "noCursorTimeout",
  "allowDiskUse",
  "let",
  "allowPartialResults",
  "oplogReplay",
];
const FIND_REFUSED = ["tailable", "awaitData", "returnKey", "showRecordId", "min", "max"];

/** A filter, sort and hint, checked and planned. */
export interface Selection {
  plan: Plan;
  test: Predicate;
  filter: Doc;
  sort: Doc | undefined;
}

/** Plan a query. `collection` undefined: nothing is there, but what is wrong with the query is still said. */
export async function select(
  collection: Collection | undefined,
  filter: Doc,
  options: { sort?: Doc; hint?: unknown; variables?: Doc },
): Promise<Selection> {
  const test = compileFilter(filter, await expressionContext(filter, options.variables));
  const { sort } = options;
  checkSort(sort);
  if (!collection) {
    const empty: Plan = {
      index: undefined,
      intervals: [],
      reverse: false,
      sorted: true,
      exact: true,
    };
    return { plan: empty, test, filter, sort };
  }
  const hint = hintName(collection, options.hint);
  return { plan: plan(collection, filter, sort, hint), test, filter, sort };
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
  { services, db }: CommandContext,
  name: string,
  filter: Doc,
  options: { sort?: Doc; hint?: unknown; variables?: Doc },
): Promise<{ collection: Collection | undefined; selection: Selection }> {
  for (;;) {
    const collection = services.catalog.find(db, name);
    const selection = await select(collection, filter, options);
    if (services.catalog.find(db, name) === collection) return { collection, selection };
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
  for (const match of matches(collection, selection.plan, selection.test, selection.sort, stats)) {
    if (skip > 0) {
      skip--;
      continue;
    }
    yield match;
    if (limit && ++n >= limit) return;
  }
}

/** Counts what a command reads, and ends it after its `maxTimeMS`. */
export function limited(body: Doc): ScanStats {
  const milliseconds = isNum(body.maxTimeMS) ? toNumber(body.maxTimeMS) : 0;
  return { examined: 0, deadline: milliseconds ? performance.now() + milliseconds : undefined };
}

/** `find`: the first batch, and a cursor for the rest. */
export async function find({ services, body, db }: CommandContext): Promise<CommandResult> {
  checkFields(body, FIND_FIELDS, FIND_REFUSED);
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  const filter = docField(body, "filter") ?? {};
  const skip = countField(body, "skip", 0);
  let limit = countField(body, "limit", 0);
  const single = flag(body.singleBatch);
  const size = countField(body, "batchSize", FIRST_BATCH);
  if (limit < 0) limit = -limit;
  const variables = docField(body, "let");
  const selection = await select(collection, filter, {
    sort: docField(body, "sort"),
    hint: body.hint,
    variables,
  });
  const projection = await compileProjection(docField(body, "projection"), filter, variables);
  const stats = limited(body);
  const source: Source = (function* () {
    for (const { row, doc } of selected(collection, selection, skip, limit, stats)) {
      yield projection ? encode(projection(doc ?? decode(row.doc))) : row.doc;
    }
  })();
  const ns = `${db}.${name}`;
  const { batch, id } = services.cursors.start(ns, source, size, {
    single,
    limit,
    keep: flag(body.noCursorTimeout),
  });
  stats.deadline = undefined; // the time until the client comes back is not the command's
  return cursorBody("firstBatch", batch, id, ns);
}

/** `getMore`: the next batch of a cursor. */
export function getMore({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["collection", "batchSize", "term", "lastKnownCommittedOpTime"]);
  const id = body.getMore;
  if (typeof id !== "bigint") throw wrongType("getMore.getMore", id, "long");
  if (typeof body.collection !== "string") {
    throw wrongType("getMore.collection", body.collection, "string");
  }
  if (body.collection === "") {
    throw new CommandError("InvalidNamespace", `Invalid namespace specified '${db}.'`);
  }
  const size = countField(body, "batchSize", Infinity) || Infinity;
  const ns = `${db}.${body.collection}`;
  const { batch, id: next } = services.cursors.next(id, ns, size);
  return cursorBody("nextBatch", batch, next, ns);
}

/** `killCursors`. */
export function killCursors({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["cursors"]);
  const ns = `${db}.${collectionName(body)}`;
  const killed: bigint[] = [];
  const unknown: bigint[] = [];
  for (const id of listField(body, "cursors")) {
    if (typeof id !== "bigint") throw wrongType("killCursors.cursors.0", id, "long");
    (services.cursors.kill(id, ns) ? killed : unknown).push(id);
  }
  return {
    cursorsKilled: killed,
    cursorsNotFound: unknown,
    cursorsAlive: [],
    cursorsUnknown: [],
  };
}

/** `count`. */
export async function count({ services, body, db }: CommandContext): Promise<CommandResult> {
  checkFields(body, ["query", "limit", "skip", "hint", "fields"]);
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  const skip = countField(body, "skip", 0);
  // A negative limit means its absolute value here.
  const limit = isNum(body.limit) ? Math.abs(Math.trunc(toNumber(body.limit))) : 0;
  const selection = await select(collection, docField(body, "query") ?? {}, { hint: body.hint });
  return { n: countSelected(collection, selection, skip, limit, limited(body)) };
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

/** `distinct`: the values of a field, each once, in order. */
export async function distinct({ services, body, db }: CommandContext): Promise<CommandResult> {
  checkFields(body, ["key", "query", "hint"]);
  const name = collectionName(body);
  const { key } = body;
  if (typeof key !== "string") throw wrongType("distinct.key", key, "string");
  if (key === "") {
    throw new CommandError("Location40352", "FieldPath cannot be constructed with empty string");
  }
  const collection = services.catalog.find(db, name);
  const selection = await select(collection, docField(body, "query") ?? {}, { hint: body.hint });
  const path = key.split(".");
  const found = new Map<string, unknown>();
  let size = 0;
  for (const { row, doc } of selected(collection, selection, 0, 0, limited(body))) {
    walkPath(doc ?? decode(row.doc), path, true, (value) => {
      if (value === undefined || (Array.isArray(value) && rankOf(value) === RANK.array)) {
        return false;
      }
      const text = encodeKey(value).join();
      if (found.has(text)) return false;
      found.set(text, value);
      size += text.length / 4; // the key's bytes, written as text
      if (size > MAX_DOCUMENT) {
        throw new CommandError("Location17217", "distinct too big, 16mb cap");
      }
      return false;
    });
  }
  return { values: [...found.values()].sort(compare) };
}

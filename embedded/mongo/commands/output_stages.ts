/**
 * `$out` and `$merge`: where a pipeline's results are written.
 * https://www.mongodb.com/docs/manual/reference/operator/aggregation/merge/
 * @module
 */
import { ObjectId } from "bson";
import { CommandError } from "../errors.ts";
import { loadAggregation } from "../language/load_aggregation.ts";
import { compileFilter } from "../language/matcher.ts";
import { valueAt } from "../language/paths.ts";
import type { Catalog } from "../storage/catalog.ts";
import { type Collection, duplicate, type Row } from "../storage/collection.ts";
import { encodeDocument } from "../storage/document.ts";
import { plan } from "../storage/planner.ts";
import { matches } from "../storage/scan.ts";
import { decode, type Doc, encode } from "../values/bson_view.ts";
import { equal, isDoc } from "../values/compare.ts";

/** Check an output stage and make the function that writes; that runs without a pause. */
export async function prepareOutput(
  catalog: Catalog,
  db: string,
  stage: Doc,
  variables: Doc | undefined,
): Promise<(results: Iterable<Doc>) => void> {
  if ("$out" in stage) {
    const target = namespace(stage.$out, db, "$out");
    return (results) => replaceCollection(catalog, target, results);
  }
  return await mergeInto(catalog, db, stage.$merge, variables);
}

interface Target {
  db: string;
  coll: string;
}

function namespace(value: unknown, db: string, stage: string): Target {
  if (typeof value === "string") return { db, coll: value };
  if (isDoc(value) && typeof value.coll === "string") {
    return { db: typeof value.db === "string" ? value.db : db, coll: value.coll };
  }
  throw new CommandError("FailedToParse", `${stage} needs the name of a collection`);
}

// All or nothing: the new collection is complete before the old one goes.
function replaceCollection(catalog: Catalog, target: Target, results: Iterable<Doc>): void {
  const old = catalog.find(target.db, target.coll);
  const temporary = `tmp.agg_out.${new ObjectId().toHexString()}`;
  const fresh = catalog.create(target.db, temporary, {});
  try {
    for (const index of old?.indexes ?? []) {
      catalog.createIndex(fresh, index.spec as unknown as Doc);
    }
    for (const doc of results) fresh.insert(encode(doc));
  } catch (error) {
    if (error instanceof CommandError) catalog.drop(fresh); // else it is rolled back already
    throw error;
  }
  if (old) catalog.drop(old);
  catalog.rename(fresh, target.db, target.coll);
}

const WHEN_MATCHED = ["replace", "keepExisting", "merge", "fail"];
const WHEN_NOT_MATCHED = ["insert", "discard", "fail"];

/** A `$merge` stage, checked, with its defaults. */
interface Merge {
  into: Target;
  /** The fields by which documents of both sides are the same. */
  on: string[];
  /** One of `WHEN_MATCHED`, or a pipeline. */
  whenMatched: string | Doc[];
  whenNotMatched: string;
  variables: Doc | undefined;
}

function mergeOf(value: unknown, db: string): Merge {
  const spec: Doc = typeof value === "string" ? { into: value } : isDoc(value) ? value : {};
  for (const name of Object.keys(spec)) {
    if (!["into", "on", "let", "whenMatched", "whenNotMatched"].includes(name)) {
      throw new CommandError("IDLUnknownField", `BSON field '$merge.${name}' is an unknown field.`);
    }
  }
  const into = namespace(spec.into, db, "$merge");
  const on =
    (spec.on === undefined ? ["_id"] : Array.isArray(spec.on) ? spec.on : [spec.on]) as string[];
  const pipeline = Array.isArray(spec.whenMatched) ? spec.whenMatched as Doc[] : undefined;
  const whenMatched = pipeline ?? choice(spec, "whenMatched", WHEN_MATCHED, "merge");
  const whenNotMatched = choice(spec, "whenNotMatched", WHEN_NOT_MATCHED, "insert");
  return { into, on, whenMatched, whenNotMatched, variables: spec.let as Doc | undefined };
}

function choice(spec: Doc, name: string, choices: string[], fallback: string): string {
  const value = String(spec[name] ?? fallback);
  if (choices.includes(value)) return value;
  throw new CommandError(
    "BadValue",
    `Enumeration value '${value}' for field '$merge.${name}' is not a valid value.`,
  );
}

/** Makes, of a document that is there and the one that is merged into it, the one that replaces it; undefined: none. */
type Merger = (before: Doc, doc: Doc) => Doc | undefined;

async function mergerOf(merge: Merge, ns: string, variables: Doc | undefined): Promise<Merger> {
  const { on, whenMatched } = merge;
  if (Array.isArray(whenMatched)) {
    const { aggregatePipeline, expression } = await loadAggregation();
    return (before, doc) => {
      const bound = merge.variables ? expression(merge.variables, variables)(doc) : { new: doc };
      const given = { ...variables, ...bound as Doc };
      return aggregatePipeline(whenMatched, [before], given, () => []).next().value!;
    };
  }
  if (whenMatched === "replace") return (before, doc) => ({ ...doc, _id: before._id });
  if (whenMatched === "merge") return (before, doc) => ({ ...before, ...doc, _id: before._id });
  if (whenMatched === "keepExisting") return () => undefined;
  return (_before, doc) => {
    const key = Object.fromEntries(on.map((name) => [name, 1]));
    const value = on.map((name) => [name, valueAt(doc, name.split(".")) ?? null]);
    const name = on.join() === "_id" ? "_id_" : on.map((field) => `${field}_1`).join("_");
    throw duplicate(ns, { name, key }, Object.fromEntries(value));
  };
}

async function mergeInto(
  catalog: Catalog,
  db: string,
  value: unknown,
  variables: Doc | undefined,
): Promise<(results: Iterable<Doc>) => void> {
  const merge = mergeOf(value, db);
  const { into, on, whenNotMatched } = merge;
  const merger = await mergerOf(merge, `${into.db}.${into.coll}`, variables);
  return (results) => {
    const collection = catalog.ensure(into.db, into.coll);
    checkUniqueOn(collection, on);
    // All of them first: the pipeline may read what is written here.
    for (const doc of [...results]) {
      doc._id ??= new ObjectId();
      const row = findOn(collection, on, doc);
      if (row) mergeRow(collection, row, doc, merger);
      else if (whenNotMatched === "insert") collection.insert(encode(doc));
      else if (whenNotMatched === "fail") {
        throw new CommandError(
          "MergeStageNoMatchingDocument",
          "$merge could not find a matching document in the target collection for at least one document in the source collection",
        );
      }
    }
  };
}

function mergeRow(collection: Collection, row: Row, doc: Doc, merger: Merger): void {
  const before = decode(row.doc);
  const after = merger(before, doc);
  if (!after) return;
  if (!equal(after._id, before._id)) {
    throw new CommandError(
      "ImmutableField",
      "$merge failed to update the matching document, did you attempt to modify the _id or the shard key?",
    );
  }
  const { _id, ...rest } = after;
  collection.replace(row, encodeDocument({ _id, ...rest }));
}

function checkUniqueOn(collection: Collection, on: string[]): void {
  if (on.length === 1 && on[0] === "_id") return;
  const unique = collection.indexes.some(({ spec, fields }) =>
    spec.unique && !spec.partialFilterExpression && fields.length === on.length &&
    on.every((name) => fields.includes(name))
  );
  if (!unique) {
    throw new CommandError(
      "Location51183",
      "Cannot find index to verify that join fields will be unique",
    );
  }
}

function findOn(collection: Collection, on: string[], doc: Doc): Row | undefined {
  const filter = Object.fromEntries(
    on.map((name) => [name, { $eq: valueAt(doc, name.split(".")) ?? null }]),
  );
  const found = matches(collection, plan(collection, filter), compileFilter(filter), undefined)
    .next();
  return found.done ? undefined : found.value.row;
}

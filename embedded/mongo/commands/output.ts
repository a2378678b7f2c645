/**
 * `$out` and `$merge`: where a pipeline's results are written.
 * https://www.mongodb.com/docs/manual/reference/operator/aggregation/merge/
 * @module
 */
import { ObjectId } from "bson";
import { decode, type Doc, encode } from "../values/bson_view.ts";
import type { Catalog } from "../storage/catalog.ts";
import { type Collection, duplicate, type Row } from "../storage/collection.ts";
import { equal, isDoc } from "../values/compare.ts";
import { CommandError } from "../errors.ts";
import { loadAggregation } from "../language/load_aggregation.ts";
import { compileFilter } from "../language/matcher.ts";
import { plan } from "../storage/planner.ts";
import { matches } from "../storage/scan.ts";
import { valueAt } from "../language/paths.ts";
import { encodeDocument } from "../storage/document.ts";

/** Check an output stage and make the function that writes; that runs without a pause. */
export async function prepareOutput(
  catalog: Catalog,
  db: string,
  stage: Doc,
  variables: Doc | undefined,
): Promise<(results: Doc[]) => void> {
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
function replaceCollection(catalog: Catalog, target: Target, results: Doc[]): void {
  const old = catalog.find(target.db, target.coll);
  const temporary = `tmp.agg_out.${new ObjectId().toHexString()}`;
  const fresh = catalog.create(target.db, temporary, {});
  try {
    for (const index of old?.indexes ?? []) {
      catalog.createIndex(fresh, index.spec as unknown as Doc);
    }
    for (const doc of results) fresh.insert(encode(doc));
  } catch (error) {
    catalog.drop(fresh);
    throw error;
  }
  if (old) catalog.drop(old);
  catalog.rename(fresh, target.db, target.coll);
}

const WHEN_MATCHED = ["replace", "keepExisting", "merge", "fail"];
const WHEN_NOT_MATCHED = ["insert", "discard", "fail"];

async function mergeInto(
  catalog: Catalog,
  db: string,
  value: unknown,
  variables: Doc | undefined,
): Promise<(results: Doc[]) => void> {
  const spec: Doc = typeof value === "string" ? { into: value } : isDoc(value) ? value : {};
  for (const name of Object.keys(spec)) {
    if (!["into", "on", "let", "whenMatched", "whenNotMatched"].includes(name)) {
      throw new CommandError("IDLUnknownField", `BSON field '$merge.${name}' is an unknown field.`);
    }
  }
  const target = namespace(spec.into, db, "$merge");
  const on =
    (spec.on === undefined ? ["_id"] : Array.isArray(spec.on) ? spec.on : [spec.on]) as string[];
  const whenMatched = spec.whenMatched ?? "merge";
  const whenNotMatched = String(spec.whenNotMatched ?? "insert");
  if (!Array.isArray(whenMatched) && !WHEN_MATCHED.includes(String(whenMatched))) {
    throw new CommandError(
      "BadValue",
      `Enumeration value '${whenMatched}' for field '$merge.whenMatched' is not a valid value.`,
    );
  }
  if (!WHEN_NOT_MATCHED.includes(whenNotMatched)) {
    throw new CommandError(
      "BadValue",
      `Enumeration value '${whenNotMatched}' for field '$merge.whenNotMatched' is not a valid value.`,
    );
  }
  const { aggregatePipeline, expression } = await loadAggregation();
  return (results) => {
    const collection = catalog.ensure(target.db, target.coll);
    checkUniqueOn(collection, on);
    for (const doc of results) {
      doc._id ??= new ObjectId();
      const row = findOn(collection, on, doc);
      if (!row) {
        if (whenNotMatched === "fail") {
          throw new CommandError(
            "MergeStageNoMatchingDocument",
            "$merge could not find a matching document in the target collection for at least one document in the source collection",
          );
        }
        if (whenNotMatched === "insert") collection.insert(encode(doc));
        continue;
      }
      const before = decode(row.doc);
      let after: Doc;
      if (Array.isArray(whenMatched)) {
        const bound = spec.let ? expression(spec.let, variables)(doc) as Doc : { new: doc };
        after = [
          ...aggregatePipeline(
            whenMatched as Doc[],
            [before],
            { ...variables, ...bound },
            () => [],
          ),
        ][0]!;
      } else if (whenMatched === "replace") after = { ...doc, _id: before._id };
      else if (whenMatched === "merge") after = { ...before, ...doc, _id: before._id };
      else if (whenMatched === "fail") {
        const key = Object.fromEntries(on.map((name) => [name, 1]));
        const value = on.map((name) => [name, valueAt(doc, name.split(".")) ?? null]);
        const name = on.join() === "_id" ? "_id_" : on.map((field) => `${field}_1`).join("_");
        throw duplicate(collection.ns, { name, key }, Object.fromEntries(value));
      } else continue;
      if (!equal(after._id, before._id)) {
        throw new CommandError(
          "ImmutableField",
          "$merge failed to update the matching document, did you attempt to modify the _id or the shard key?",
        );
      }
      const { _id, ...rest } = after;
      collection.replace(row, encodeDocument({ _id, ...rest }));
    }
  };
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

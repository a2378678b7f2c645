/**
 * Indexes: made, listed, changed and dropped.
 * https://www.mongodb.com/docs/manual/reference/command/nav-administration/
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Catalog } from "../storage/catalog.ts";
import { type Collection, refuseView } from "../storage/collection.ts";
import type { Doc } from "../values/bson_view.ts";
import { equal, isDoc } from "../values/compare.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import type { Command, CommandContext, CommandResult } from "./context.ts";
import { checkFields, collectionName, listField } from "./fields.ts";
import { existingCollection, listReply } from "./listing.ts";

function createIndexes({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["indexes", "commitQuorum", "ignoreUnknownIndexOptions"]);
  const name = collectionName(body);
  const requests = listField(body, "indexes");
  if (!requests.length) {
    throw new CommandError("BadValue", "Must specify at least one index to create");
  }
  // commitQuorum is for replica sets; a standalone refuses it.
  if (body.commitQuorum !== undefined) {
    throw new CommandError(
      "BadValue",
      "Standalones can't specify commitQuorum",
    );
  }
  const created = !services.catalog.find(db, name);
  const collection = services.catalog.ensure(db, name);
  const before = collection.indexes.length + 1;
  const made: string[] = [];
  try {
    for (const request of requests) {
      if (!isDoc(request)) throw wrongType("createIndexes.indexes", request, "object");
      if (services.catalog.createIndex(collection, request)) made.push(String(request.name));
    }
  } catch (error) {
    // All or none. After an error of the storage there is nothing to undo: all of it is rolled back.
    if (error instanceof CommandError) {
      for (const index of made) services.catalog.dropIndex(collection, index);
      if (created) services.catalog.drop(collection);
    }
    throw error;
  }
  const after = collection.indexes.length + 1;
  return {
    numIndexesBefore: before,
    numIndexesAfter: after,
    createdCollectionAutomatically: created,
    ...(after === before ? { note: "all indexes already exist" } : {}),
  };
}

function listIndexes(context: CommandContext): CommandResult {
  checkFields(context.body, ["cursor", "includeBuildUUIDs", "includeIndexBuildInfo"]);
  const collection = existingCollection(context);
  refuseView(collection);
  const { ns, indexes } = collection;
  const specs = [idIndex(collection), ...indexes.map(({ spec }) => spec)];
  return listReply(context, specs as unknown as Doc[], ns);
}

/** The index of `_id` as `listIndexes` shows it. */
export function idIndex({ options }: Collection): Doc {
  if (isDoc(options.clusteredIndex)) return { ...options.clusteredIndex, clustered: true };
  const spec = { v: 2, key: { _id: 1 }, name: "_id_" };
  return options.collation ? { ...spec, collation: options.collation } : spec;
}

function dropIndexes(context: CommandContext): CommandResult {
  const { services, body } = context;
  checkFields(body, ["index"]);
  const collection = existingCollection(context);
  const { index } = body;
  const nIndexesWas = collection.indexes.length + 1;
  if (index === "*") {
    for (const one of [...collection.indexes]) {
      services.catalog.dropIndex(collection, one.spec.name);
    }
    return { nIndexesWas, msg: "non-_id indexes dropped for collection" };
  }
  for (const one of Array.isArray(index) ? index : [index]) {
    dropOne(services.catalog, collection, one);
  }
  return { nIndexesWas };
}

function dropOne(
  catalog: CommandContext["services"]["catalog"],
  collection: Collection,
  index: unknown,
): void {
  if (index === "_id_" || (isDoc(index) && equal(index, { _id: 1 }))) {
    throw new CommandError("InvalidOptions", "cannot drop _id index");
  }
  if (typeof index === "string") {
    if (catalog.dropIndex(collection, index)) return;
    throw new CommandError("IndexNotFound", `index not found with name [${index}]`);
  }
  if (!isDoc(index)) throw wrongType("dropIndexes.index", index, "string");
  const found = collection.indexes.find(({ spec }) => equal(spec.key, index));
  if (!found) {
    throw new CommandError("IndexNotFound", `can't find index with key: ${JSON.stringify(index)}`);
  }
  catalog.dropIndex(collection, found.spec.name);
}

/**
 * Change an index (`collMod`); returns what it was and is.
 * @throws CommandError IndexNotFound, InvalidOptions, CannotConvertIndexToUnique
 */
export function modifyIndex(catalog: Catalog, collection: Collection, change: Doc): Doc {
  const found = collection.indexes.find(({ spec }) =>
    change.name !== undefined ? spec.name === change.name : equal(spec.key, change.keyPattern)
  );
  if (!found) {
    throw new CommandError("IndexNotFound", `cannot find index for ns ${collection.ns}`);
  }
  const result: Doc = {};
  const { expireAfterSeconds, hidden, prepareUnique, unique } = change;
  if (expireAfterSeconds !== undefined) {
    if (!isNum(expireAfterSeconds) || toNumber(expireAfterSeconds) < 0) {
      throw new CommandError(
        "InvalidOptions",
        "TTL index 'expireAfterSeconds' must be a number from 0",
      );
    }
    if (found.spec.expireAfterSeconds !== undefined) {
      result.expireAfterSeconds_old = found.spec.expireAfterSeconds;
    }
    found.spec = { ...found.spec, expireAfterSeconds };
    result.expireAfterSeconds_new = expireAfterSeconds;
  }
  if (hidden !== undefined) {
    result.hidden_old = !!found.spec.hidden;
    result.hidden_new = flag(hidden);
    found.spec = { ...found.spec, hidden: flag(hidden) || undefined };
  }
  if (prepareUnique !== undefined) {
    result.prepareUnique_old = !!found.spec.prepareUnique;
    result.prepareUnique_new = flag(prepareUnique);
    found.spec = { ...found.spec, prepareUnique: flag(prepareUnique) || undefined };
  }
  if (unique !== undefined) {
    if (!flag(unique)) throw new CommandError("BadValue", "'unique: false' is not allowed");
    if (!found.spec.prepareUnique) {
      throw new CommandError(
        "InvalidOptions",
        "Cannot make index unique with 'prepareUnique=false'. Run collMod to set it first",
      );
    }
    const violations = collection.violations(found);
    if (violations.length) {
      throw new CommandError(
        "CannotConvertIndexToUnique",
        "Cannot convert the index to unique. Please resolve conflicting documents before running collMod again.",
        { violations: violations.map((ids) => ({ ids })) },
      );
    }
    found.spec = { ...found.spec, prepareUnique: undefined, unique: true };
    result.unique_new = true;
  }
  catalog.saveIndex(found);
  return result;
}

/** The commands of this file, by name. */
export const indexCommands: Record<string, Command> = {
  createIndexes,
  listIndexes,
  dropIndexes,
  deleteIndexes: dropIndexes,
};

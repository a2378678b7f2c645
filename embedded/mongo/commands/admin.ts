/**
 * Databases, collections and indexes.
 * https://www.mongodb.com/docs/manual/reference/command/nav-administration/
 * @module
 */
import { type Doc, encode } from "../bson_view.ts";
import type { Collection } from "../collection.ts";
import { equal, isDoc } from "../compare.ts";
import { FIRST_BATCH } from "../cursors.ts";
import { CommandError } from "../errors.ts";
import { compileFilter } from "../matcher.ts";
import { isNum, toNumber } from "../numbers.ts";
import {
  checkCollation,
  checkFields,
  collectionName,
  countField,
  docField,
  flag,
  listField,
  wrongType,
} from "../options.ts";
import { cursorBody } from "../wire.ts";
import type { Command, CommandContext, CommandResult } from "./context.ts";

function existing({ services, body, db }: CommandContext): Collection {
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  if (!collection) throw new CommandError("NamespaceNotFound", `ns does not exist: ${db}.${name}`);
  return collection;
}

function listed(
  { services, body }: CommandContext,
  documents: Doc[],
  ns: string,
): CommandResult {
  const size = countField(docField(body, "cursor") ?? {}, "batchSize", FIRST_BATCH);
  const source = documents.map(encode)[Symbol.iterator]() as Iterator<Uint8Array, void>;
  const { batch, id } = services.cursors.start(ns, source, size, { limit: documents.length || 1 });
  return cursorBody("firstBatch", batch, id, ns);
}

const CREATE_REFUSED = [
  "capped",
  "size",
  "max",
  "timeseries",
  "clusteredIndex",
  "viewOn",
  "pipeline",
  "changeStreamPreAndPostImages",
  "encryptedFields",
  "validator",
  "storageEngine",
  "expireAfterSeconds",
];

function create({ services, body, db }: CommandContext): CommandResult {
  checkFields(
    body,
    [
      "autoIndexId",
      "idIndex",
      "indexOptionDefaults",
      "validationLevel",
      "validationAction",
      "flags",
    ],
    CREATE_REFUSED,
  );
  const name = collectionName(body);
  const known = services.catalog.find(db, name);
  // As the server: creating what is there with the same options is no error.
  if (!known) services.catalog.create(db, name, {});
  return {};
}

function drop(context: CommandContext): CommandResult {
  checkFields(context.body, []);
  const { services, body, db } = context;
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  // Since 7.0 dropping what is not there is no error.
  if (!collection) return {};
  const indexes = collection.indexes.length + 1;
  services.cursors.killNamespace(collection.ns);
  services.catalog.drop(collection);
  return { nIndexesWas: indexes, ns: collection.ns };
}

function dropDatabase({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, []);
  const collections = services.catalog.list(db);
  for (const collection of collections) {
    services.cursors.killNamespace(collection.ns);
    services.catalog.drop(collection);
  }
  return collections.length ? { dropped: db } : {};
}

function listCollections(context: CommandContext): CommandResult {
  const { services, body, db } = context;
  checkFields(body, ["filter", "cursor", "nameOnly", "authorizedCollections"]);
  const test = compileFilter(docField(body, "filter") ?? {});
  const names = services.catalog.list(db).map((collection) =>
    flag(body.nameOnly) ? { name: collection.name, type: "collection" } : {
      name: collection.name,
      type: "collection",
      options: collection.options,
      info: { readOnly: false },
      idIndex: { v: 2, key: { _id: 1 }, name: "_id_" },
    }
  );
  return listed(context, names.filter(test), `${db}.$cmd.listCollections`);
}

function listDatabases({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["filter", "nameOnly", "authorizedDatabases"]);
  if (db !== "admin") {
    throw new CommandError(
      "Unauthorized",
      "listDatabases may only be run against the admin database.",
    );
  }
  const test = compileFilter(docField(body, "filter") ?? {});
  const all = services.catalog.databases().map((name): Doc => {
    if (flag(body.nameOnly)) return { name };
    const collections = services.catalog.list(name);
    const size = collections.reduce((sum, collection) => sum + collection.size(), 0);
    return { name, sizeOnDisk: BigInt(size), empty: collections.every(({ count }) => !count) };
  }).filter(test);
  if (flag(body.nameOnly)) return { databases: all };
  const total = all.reduce((sum, one) => sum + (one.sizeOnDisk as bigint), 0n);
  return { databases: all, totalSize: total, totalSizeMb: total / 1048576n };
}

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
    // All or none.
    for (const index of made) services.catalog.dropIndex(collection, index);
    if (created) services.catalog.drop(collection);
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
  const { ns, indexes } = existing(context);
  const specs = [{ v: 2, key: { _id: 1 }, name: "_id_" }, ...indexes.map(({ spec }) => spec)];
  return listed(context, specs as unknown as Doc[], ns);
}

function dropIndexes(context: CommandContext): CommandResult {
  const { services, body } = context;
  checkFields(body, ["index"]);
  const collection = existing(context);
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

function renameCollection({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["to", "dropTarget"]);
  if (db !== "admin") {
    throw new CommandError(
      "Unauthorized",
      "renameCollection may only be run against the admin database.",
    );
  }
  const from = collectionName(body);
  const { to } = body;
  if (typeof to !== "string") throw wrongType("renameCollection.to", to, "string");
  const split = (ns: string) =>
    [ns.slice(0, ns.indexOf(".")), ns.slice(ns.indexOf(".") + 1)] as const;
  const source = services.catalog.find(...split(from));
  if (!source) {
    throw new CommandError("NamespaceNotFound", `Source collection ${from} does not exist`);
  }
  if (from === to) {
    throw new CommandError("IllegalOperation", "Can't rename a collection to itself");
  }
  const target = services.catalog.find(...split(to));
  if (target) {
    if (!flag(body.dropTarget)) {
      throw new CommandError("NamespaceExists", "target namespace exists");
    }
    services.cursors.killNamespace(to);
    services.catalog.drop(target);
  }
  services.cursors.killNamespace(from);
  services.catalog.rename(source, ...split(to));
  return {};
}

function collMod(context: CommandContext): CommandResult {
  const { services, body } = context;
  checkFields(body, ["index"], ["validator", "viewOn", "pipeline", "cappedSize", "cappedMax"]);
  const collection = existing(context);
  const change = docField(body, "index");
  if (!change) return {};
  const found = collection.indexes.find(({ spec }) =>
    change.name !== undefined ? spec.name === change.name : equal(spec.key, change.keyPattern)
  );
  if (!found) {
    throw new CommandError("IndexNotFound", `cannot find index for ns ${collection.ns}`);
  }
  const result: Doc = {};
  if (change.expireAfterSeconds !== undefined) {
    const value = change.expireAfterSeconds;
    if (!isNum(value) || toNumber(value) < 0) {
      throw new CommandError(
        "InvalidOptions",
        "TTL index 'expireAfterSeconds' must be a number from 0",
      );
    }
    if (found.spec.expireAfterSeconds !== undefined) {
      result.expireAfterSeconds_old = found.spec.expireAfterSeconds;
    }
    found.spec = { ...found.spec, expireAfterSeconds: value };
    result.expireAfterSeconds_new = value;
  }
  if (change.hidden !== undefined) {
    result.hidden_old = !!found.spec.hidden;
    result.hidden_new = flag(change.hidden);
    found.spec = { ...found.spec, hidden: flag(change.hidden) || undefined };
  }
  services.catalog.saveIndex(found);
  return result;
}

function collStats({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["scale"]);
  const name = collectionName(body);
  const collection = services.catalog.find(db, name);
  const size = collection?.size() ?? 0;
  const count = collection?.count ?? 0;
  return {
    ns: `${db}.${name}`,
    size,
    count,
    ...(count ? { avgObjSize: Math.floor(size / count) } : {}),
    storageSize: size,
    nindexes: collection ? collection.indexes.length + 1 : 0,
    capped: false,
    totalIndexSize: 0,
    indexSizes: {},
    scaleFactor: 1,
  };
}

function dbStats({ services, body, db }: CommandContext): CommandResult {
  checkFields(body, ["scale", "freeStorage"]);
  const collections = services.catalog.list(db);
  const size = collections.reduce((sum, collection) => sum + collection.size(), 0);
  const objects = collections.reduce((sum, { count }) => sum + count, 0);
  return {
    db,
    collections: BigInt(collections.length),
    views: 0n,
    objects: BigInt(objects),
    avgObjSize: objects ? size / objects : 0,
    dataSize: size,
    storageSize: size,
    indexes: BigInt(collections.reduce((sum, { indexes }) => sum + indexes.length + 1, 0)),
    indexSize: 0,
    totalSize: size,
    scaleFactor: 1,
  };
}

function validateCollection(context: CommandContext): CommandResult {
  checkFields(context.body, ["full", "repair", "metadata"], ["background"]);
  const collection = existing(context);
  return {
    ns: collection.ns,
    nInvalidDocuments: 0n,
    nrecords: collection.count,
    nIndexes: collection.indexes.length + 1,
    valid: true,
    repaired: false,
    warnings: [],
    errors: [],
    corruptRecords: [],
  };
}

function onCollation(command: Command): Command {
  return (context) => {
    checkCollation(context.body.collation);
    return command(context);
  };
}

/** The commands of this file, by name. */
export const adminCommands: Record<string, Command> = {
  create: onCollation(create),
  drop,
  dropDatabase,
  listCollections,
  listDatabases,
  createIndexes,
  listIndexes,
  dropIndexes,
  deleteIndexes: dropIndexes,
  renameCollection,
  collMod,
  collStats,
  collstats: collStats,
  dbStats,
  dbstats: dbStats,
  validate: validateCollection,
};

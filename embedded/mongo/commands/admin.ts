/**
 * Databases, collections and indexes.
 * https://www.mongodb.com/docs/manual/reference/command/nav-administration/
 * @module
 */
import { CommandError } from "../errors.ts";
import { expressionContext } from "../language/load_aggregation.ts";
import { compileFilter } from "../language/matcher.ts";
import { refuseView } from "../storage/collection.ts";
import type { Doc } from "../values/bson_view.ts";
import { fullCollation } from "../values/collation.ts";
import { equal, isDoc } from "../values/compare.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import { isNum } from "../values/numbers.ts";
import { shellText } from "../values/shell_text.ts";
import type { Command, CommandContext, CommandResult } from "./context.ts";
import { checkFields, collectionName, countField, docField } from "./fields.ts";
import { idIndex, modifyIndex } from "./indexes.ts";
import { existingCollection, listReply } from "./listing.ts";

// Accepted, and without effect here: storage, and images for change streams, which a standalone server has not.
const CREATE_FIELDS = [
  "autoIndexId",
  "idIndex",
  "indexOptionDefaults",
  "validationLevel",
  "validationAction",
  "flags",
  "capped",
  "size",
  "max",
  "validator",
  "viewOn",
  "pipeline",
  "collation",
  "clusteredIndex",
  "changeStreamPreAndPostImages",
];

const CREATE_REFUSED = ["timeseries", "encryptedFields", "storageEngine", "expireAfterSeconds"];

/** What is stored of them, and shown by `listCollections`, in its order. */
const STORED = [
  "capped",
  "size",
  "max",
  "changeStreamPreAndPostImages",
  "clusteredIndex",
  "collation",
  "validator",
  "validationLevel",
  "validationAction",
  "viewOn",
  "pipeline",
];

async function create({ services, body, db }: CommandContext): Promise<CommandResult> {
  checkFields(body, CREATE_FIELDS, CREATE_REFUSED);
  const name = collectionName(body);
  const options = await createOptions(body);
  const known = services.catalog.find(db, name);
  // As the server: creating what is there with the same options is no error.
  if (!known) services.catalog.create(db, name, options);
  else if (!equal(known.options, options)) {
    throw new CommandError(
      "NamespaceExists",
      `namespace ${db}.${name} already exists, but with different options: ${
        shellText(known.options)
      }`,
    );
  }
  return {};
}

async function createOptions(body: Doc): Promise<Doc> {
  const options: Doc = {};
  for (const name of STORED) if (body[name] !== undefined) options[name] = body[name];
  const invalid = (message: string) => new CommandError("InvalidOptions", message);
  if (options.capped === false) delete options.capped;
  if (flag(options.capped)) {
    options.capped = true;
    if (!isNum(options.size)) {
      throw invalid("the 'size' field is required when 'capped' is true");
    }
  } else if (options.size !== undefined || options.max !== undefined) {
    throw invalid(
      "the 'capped' field needs to be true when either the 'size' or 'max' fields are present",
    );
  }
  for (const name of ["size", "max"]) {
    if (options[name] === undefined) continue;
    const count = countField(options, name, 0);
    // As the server shows them: an int where it fits.
    options[name] = (count | 0) === count ? count : BigInt(count);
  }
  checkValidation(options);
  const validator = docField(options, "validator");
  if (validator) compileFilter(validator, await expressionContext(validator));
  const collation = fullCollation(docField(options, "collation"));
  if (collation) options.collation = collation;
  else delete options.collation;
  if (options.clusteredIndex !== undefined) options.clusteredIndex = clusteredIndex(options);
  if (options.viewOn !== undefined) {
    if (typeof options.viewOn !== "string") {
      throw wrongType("create.viewOn", options.viewOn, "string");
    }
    options.pipeline = viewPipeline(options.pipeline);
  } else if (options.pipeline !== undefined) {
    throw invalid("'pipeline' requires 'viewOn' to also be specified");
  }
  return options;
}

function viewPipeline(pipeline: unknown): unknown[] {
  if (pipeline === undefined) return [];
  if (!Array.isArray(pipeline)) throw wrongType("create.pipeline", pipeline, "array");
  for (const stage of pipeline) {
    if (!isDoc(stage)) throw wrongType("create.pipeline", stage, "object");
    const name = Object.keys(stage)[0];
    if (name === "$out" || name === "$merge") {
      throw new CommandError(
        "OptionNotSupportedOnView",
        `The aggregation stage ${name} in location 0 of the view pipeline is not allowed`,
      );
    }
  }
  return pipeline;
}

function checkValidation(options: Doc): void {
  const choices: Record<string, string[]> = {
    validationLevel: ["off", "strict", "moderate"],
    validationAction: ["error", "warn"],
  };
  for (const name of Object.keys(choices)) {
    const value = options[name];
    if (value === undefined || choices[name]!.includes(value as string)) continue;
    throw new CommandError(
      "BadValue",
      `Enumeration value '${value}' for field '${name}' is not a valid value.`,
    );
  }
}

function clusteredIndex(options: Doc): Doc {
  const given = docField(options, "clusteredIndex")!;
  const invalid = (message: string) => new CommandError("InvalidIndexSpecificationOption", message);
  if (!equal(given.key, { _id: 1 })) {
    throw invalid("The clusteredIndex option is only supported for the key {_id: 1}");
  }
  if (!flag(given.unique)) throw invalid("The clusteredIndex option requires unique: true");
  if (options.capped) {
    throw new CommandError("Location6049200", "A capped collection cannot be clustered");
  }
  const { name = "_id_" } = given;
  return { v: 2, key: { _id: 1 }, name, unique: true };
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
  const all = services.catalog.list(db).map((collection): Doc => {
    const { name, options } = collection;
    if (collection.isView) return { name, type: "view", options, info: { readOnly: true } };
    const shown = {
      name,
      type: "collection",
      options,
      info: { readOnly: false, uuid: collection.uuid },
    };
    // The key of a clustered collection is its own order, not an index.
    return options.clusteredIndex ? shown : { ...shown, idIndex: idIndex(collection) };
  }).filter(test);
  const names = flag(body.nameOnly) ? all.map(({ name, type }) => ({ name, type })) : all;
  return listReply(context, names, `${db}.$cmd.listCollections`);
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
  // The server keeps its own in these three, so they are always there.
  const names = new Set(["admin", "config", "local", ...services.catalog.databases()]);
  const all = [...names].sort().map((name): Doc => {
    const collections = services.catalog.list(name);
    const size = collections.reduce((sum, collection) => sum + collection.size(), 0);
    return { name, sizeOnDisk: BigInt(size), empty: !collections.length };
  }).filter(test);
  if (flag(body.nameOnly)) return { databases: all.map(({ name }) => ({ name })) };
  const total = all.reduce((sum, one) => sum + (one.sizeOnDisk as bigint), 0n);
  return { databases: all, totalSize: total, totalSizeMb: total / 1048576n };
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

async function collMod(context: CommandContext): Promise<CommandResult> {
  const { services, body } = context;
  checkFields(body, [
    "index",
    "validator",
    "validationLevel",
    "validationAction",
    "viewOn",
    "pipeline",
    "cappedSize",
    "cappedMax",
    "changeStreamPreAndPostImages",
  ], ["dryRun", "expireAfterSeconds", "timeseries"]);
  const collection = existingCollection(context);
  checkValidation(body);
  const validator = docField(body, "validator");
  if (validator) compileFilter(validator, await expressionContext(validator));
  const change = docField(body, "index");
  const result = change ? modifyIndex(services.catalog, collection, change) : {};
  const options = { ...collection.options };
  const changed = [
    "validator",
    "validationLevel",
    "validationAction",
    "changeStreamPreAndPostImages",
  ];
  for (const name of changed) {
    if (body[name] !== undefined) options[name] = body[name];
  }
  if (validator && !Object.keys(validator).length) delete options.validator;
  if (body.viewOn !== undefined || body.pipeline !== undefined) {
    if (!collection.isView) {
      throw new CommandError("InvalidOptions", "'viewOn' and 'pipeline' are for views only");
    }
    options.viewOn = body.viewOn ?? options.viewOn;
    options.pipeline = viewPipeline(body.pipeline);
  } else if (collection.isView && Object.keys(options).length) refuseView(collection);
  for (const [name, option] of [["cappedSize", "size"], ["cappedMax", "max"]] as const) {
    if (body[name] === undefined) continue;
    if (!collection.capped) {
      throw new CommandError("InvalidOptions", "Collection must be capped.");
    }
    countField(body, name, 0);
    options[option] = body[name];
  }
  if (!equal(options, collection.options)) services.catalog.saveOptions(collection, options);
  return result;
}

/** The commands of this file, by name. */
export const adminCommands: Record<string, Command> = {
  create,
  drop,
  dropDatabase,
  listCollections,
  listDatabases,
  renameCollection,
  collMod,
};

/**
 * Reading the fields of a command, with the server's errors for what is wrong or unknown.
 * @module
 */
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { isDoc, typeName } from "../values/compare.ts";
import { flag, wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";

// https://www.mongodb.com/docs/manual/reference/command/ : fields every command may carry.
const GENERIC = new Set([
  "$db",
  "lsid",
  "$readPreference",
  "$clusterTime",
  "comment",
  "maxTimeMS",
  "readConcern",
  "writeConcern",
  "apiVersion",
  "apiStrict",
  "apiDeprecationErrors",
  "$client",
  "$configServerState",
  "$audit",
  "mayBypassWriteBlocking",
  "maxTimeMSOpOnly",
  "txnNumber",
  "autocommit",
  "startTransaction",
]);

/**
 * Refuse fields that a command does not have, and those it has on the server only.
 * @param accepted fields that are honoured, or that can have no effect here
 * @param refused fields of the real server that this store does not have
 */
export function checkFields(
  body: Doc,
  accepted: readonly string[],
  refused: readonly string[] = [],
): void {
  const command = Object.keys(body)[0]!;
  for (const name of Object.keys(body)) {
    if (name === command || GENERIC.has(name) || accepted.includes(name)) continue;
    if (refused.includes(name)) {
      const value = body[name];
      // A false or empty option asks for nothing.
      if (value === false || value === null) continue;
      throw new CommandError(
        "NotImplemented",
        `The option '${name}' of '${command}' is not supported by the embedded store`,
      );
    } else {
      throw new CommandError(
        "IDLUnknownField",
        `BSON field '${command}.${name}' is an unknown field.`,
      );
    }
  }
}

/** A required or optional document. */
export function docField(body: Doc, name: string): Doc | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (!isDoc(value)) throw wrongType(name, value, "object");
  return value;
}

/** A list; missing is the error that the server gives for a required field. */
export function listField(body: Doc, name: string): unknown[] {
  const value = body[name];
  const command = Object.keys(body)[0];
  if (value === undefined) {
    throw new CommandError(
      "IDLFailedToParse",
      `BSON field '${command}.${name}' is missing but a required field`,
    );
  }
  if (!Array.isArray(value)) throw wrongType(`${command}.${name}`, value, "array");
  return value;
}

/** A whole number that is not negative. */
export function countField(body: Doc, name: string, fallback: number): number {
  const value = body[name];
  if (value === undefined || value === null) return fallback;
  if (!isNum(value)) throw wrongType(name, value, "long");
  const number = Math.trunc(toNumber(value));
  if (!(number >= 0)) {
    throw new CommandError(
      "Location51024",
      `BSON field '${name}' value must be >= 0, actual value '${number}'`,
    );
  }
  return number;
}

/** The collection that a command names in its first field. */
export function collectionName(body: Doc): string {
  const command = Object.keys(body)[0]!;
  const value = body[command];
  if (typeof value !== "string") {
    throw new CommandError(
      "InvalidNamespace",
      `collection name has invalid type ${typeName(value)}`,
    );
  }
  if (value === "") {
    throw new CommandError("InvalidNamespace", `Invalid namespace specified '${body.$db}.'`);
  }
  return value;
}

/** Refuse what only a replica set can do, and a write concern that waits for others. */
export function checkGeneric(body: Doc): void {
  if (body.startTransaction !== undefined || body.autocommit !== undefined) {
    throw new CommandError(
      "IllegalOperation",
      "Transaction numbers are only allowed on a replica set member or mongos",
    );
  }
  if (body.txnNumber !== undefined) {
    throw new CommandError(
      "IllegalOperation",
      "Transaction numbers are only allowed on a replica set member or mongos",
    );
  }
  const concern = docField(body, "writeConcern");
  if (concern) {
    const { w } = concern;
    if (isNum(w) && toNumber(w) > 1) {
      throw new CommandError("BadValue", "cannot use 'w' > 1 when a host is not replicated");
    }
    if (typeof w === "string" && w !== "majority") {
      throw new CommandError(
        "BadValue",
        `cannot use non-majority 'w' mode ${w} when a host is not a member of a replica set`,
      );
    }
  }
  const read = docField(body, "readConcern");
  if (read && read.level !== undefined) {
    if (read.level === "snapshot" || read.level === "linearizable") {
      throw new CommandError(
        "NotAReplicaSet",
        `node needs to be a replica set member to use read concern`,
      );
    }
    if (!["local", "available", "majority"].includes(String(read.level))) {
      throw new CommandError("FailedToParse", `Unrecognized read concern level: ${read.level}`);
    }
  }
  const { maxTimeMS } = body;
  if (maxTimeMS !== undefined) {
    if (!isNum(maxTimeMS)) throw wrongType("maxTimeMS", maxTimeMS, "long");
    if (toNumber(maxTimeMS) < 0) {
      throw new CommandError(
        "BadValue",
        `${toNumber(maxTimeMS)} value for maxTimeMS is out of range [0, 2147483647]`,
      );
    }
  }
  checkApi(body);
}

// https://www.mongodb.com/docs/manual/reference/stable-api/ : all of version 1 that is here.
const API_1 = new Set([
  "abortTransaction",
  "aggregate",
  "collMod",
  "commitTransaction",
  "count",
  "create",
  "createIndexes",
  "delete",
  "drop",
  "dropDatabase",
  "dropIndexes",
  "endSessions",
  "explain",
  "find",
  "findAndModify",
  "getMore",
  "hello",
  "insert",
  "killCursors",
  "listCollections",
  "listDatabases",
  "listIndexes",
  "ping",
  "refreshSessions",
  "saslContinue",
  "saslStart",
  "update",
]);
const NOT_API_1 = [
  "$currentOp",
  "$indexStats",
  "$listLocalSessions",
  "$listSessions",
  "$planCacheStats",
];

function checkApi(body: Doc): void {
  const { apiVersion, apiStrict, apiDeprecationErrors } = body;
  if (apiVersion === undefined) {
    if (apiStrict === undefined && apiDeprecationErrors === undefined) return;
    const name = apiStrict === undefined ? "apiDeprecationErrors" : "apiStrict";
    throw new CommandError(
      "Location4886600",
      `Provided ${name} without passing apiVersion`,
    );
  }
  if (apiVersion !== "1") {
    throw new CommandError("APIVersionError", 'API version must be "1"');
  }
  if (!flag(apiStrict)) return;
  const command = Object.keys(body)[0]!;
  if (!API_1.has(command)) {
    throw new CommandError(
      "APIStrictError",
      `Provided apiStrict:true, but the command ${command} is not in API Version 1. Information on supported commands and migrations in API Version 1 can be found at https://dochub.mongodb.org/core/manual-versioned-api`,
    );
  }
  const pipeline = command === "aggregate" && Array.isArray(body.pipeline) ? body.pipeline : [];
  for (const stage of pipeline) {
    const name = isDoc(stage) ? Object.keys(stage)[0] ?? "" : "";
    if (!NOT_API_1.includes(name)) continue;
    throw new CommandError(
      "APIStrictError",
      `stage ${name} is not allowed with 'apiStrict: true' in API Version 1`,
    );
  }
}

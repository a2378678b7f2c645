/**
 * What may be asked of `createIndexes`, and when it is an index that exists.
 * https://www.mongodb.com/docs/manual/reference/command/createIndexes/
 * @module
 */
import { CommandError } from "../errors.ts";
import { compileFilter, isOperatorDoc } from "../language/matcher.ts";
import type { Doc } from "../values/bson_view.ts";
import { fullCollation } from "../values/collation.ts";
import { equal, isDoc, RANK, rankOf } from "../values/compare.ts";
import { flag, isTrue, wrongType } from "../values/field_checks.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { shellText } from "../values/shell_text.ts";
import type { Collection } from "./collection.ts";
import type { IndexSpec } from "./index.ts";

const FLAGS: readonly string[] = ["unique", "sparse", "hidden", "prepareUnique"];
/** Options of old servers: kept as they came, without effect. */
const KEPT: readonly string[] = ["background", "dropDups"];

/** An error about the specification as a whole, as the server words it. */
function inSpecification(code: "FailedToParse" | "TypeMismatch", request: Doc, why: string) {
  return new CommandError(
    code,
    `Error in specification ${shellText(request)} :: caused by :: ${why}`,
  );
}

/**
 * Check a requested index and bring it to the form that is stored.
 * @throws CommandError as the server would
 */
export function checkIndexSpec(request: Doc, { ns, options }: Collection): IndexSpec {
  const { key, name } = request;
  const required = (field: string) =>
    inSpecification(
      "FailedToParse",
      request,
      `The '${field}' field is a required property of an index specification`,
    );
  if (!isDoc(key)) throw required("key");
  if (typeof name !== "string") throw required("name");
  checkKey(key);
  if (name === "") cannot("index names cannot be empty");
  if (name === "*") {
    throw new CommandError("BadValue", "The index name '*' is not valid.");
  }
  const spec: IndexSpec = { v: 2, key, name };
  for (const option of Object.keys(request)) addOption(spec, option, request);
  if (request.collation === undefined && options.collation && !equal(key, { _id: 1 })) {
    spec.collation = options.collation as Doc;
  }
  checkCombination(spec, ns);
  return spec;
}

/** Add one option of the request to the specification that is stored. */
function addOption(spec: IndexSpec, option: string, request: Doc): void {
  const value = request[option];
  if (option === "key" || option === "name" || option === "v" || option === "ns") return;
  if (FLAGS.includes(option)) {
    if (typeof value !== "boolean" && !isNum(value)) {
      throw inSpecification(
        "TypeMismatch",
        request,
        `The field '${option}' has value ${option}: ${
          shellText(value)
        }, which is not convertible to bool`,
      );
    }
    if (isTrue(value)) spec[option as "unique"] = true;
  } else if (KEPT.includes(option)) {
    spec[option as "background"] = value;
  } else if (option === "expireAfterSeconds") {
    checkExpiry(spec.key, value);
    spec.expireAfterSeconds = value;
  } else if (option === "partialFilterExpression") {
    if (!isDoc(value)) {
      throw new CommandError(
        "TypeMismatch",
        "The field 'partialFilterExpression' must be an object",
      );
    }
    compileFilter(value);
    checkPartial(value);
    spec.partialFilterExpression = value;
  } else if (option === "collation") {
    if (!isDoc(value)) throw wrongType("createIndexes.indexes.collation", value, "object");
    if (value.locale !== "simple") spec.collation = fullCollation(value);
  } else if (UNSUPPORTED.has(option)) {
    throw new CommandError("NotImplemented", `The index option '${option}' is not supported`);
  } else {
    throw new CommandError(
      "InvalidIndexSpecificationOption",
      `The field '${option}' is not valid for an index specification. Specification: ${
        shellText(request)
      }`,
    );
  }
}

/** Refuse options that do not go together. */
function checkCombination(spec: IndexSpec, ns: string): void {
  if (spec.collation && (spec.unique || spec.prepareUnique)) {
    // Strings that the language takes as equal have different keys, so the index could not refuse them.
    throw new CommandError(
      "NotImplemented",
      `A unique index with a collation is not supported: ${ns}.${spec.name}`,
    );
  }
  if (spec.unique && Object.values(spec.key).includes("hashed")) {
    throw new CommandError(
      "Location16764",
      "Currently hashed indexes cannot guarantee uniqueness. Use a regular index.",
    );
  }
  if (spec.sparse && spec.partialFilterExpression) {
    cannot('cannot mix "partialFilterExpression" and "sparse" options');
  }
}

const PARTIAL = ["$eq", "$gt", "$gte", "$lt", "$lte", "$exists", "$type", "$in"];

// https://www.mongodb.com/docs/manual/core/index-partial/ : only what a query can be seen to imply.
function checkPartial(filter: Doc): void {
  for (const name of Object.keys(filter)) {
    const condition = filter[name];
    if (name === "$and" || name === "$or") {
      for (const branch of condition as Doc[]) checkPartial(branch);
      continue;
    }
    const operators = isOperatorDoc(condition) ? Object.keys(condition) : [];
    const values = isOperatorDoc(condition) ? Object.values(condition).flat() : [condition];
    const wrong = name[0] === "$" ||
      values.some((value) => rankOf(value) === RANK.regex) ||
      operators.some((operator) =>
        !PARTIAL.includes(operator) ||
        (operator === "$exists" && !flag((condition as Doc).$exists))
      );
    if (wrong) {
      cannot(`Expression not supported in partial index: ${shellText({ [name]: condition })}`);
    }
  }
}

/** Options of the server that this store does not have. */
const UNSUPPORTED = new Set([
  "weights",
  "default_language",
  "language_override",
  "textIndexVersion",
  "2dsphereIndexVersion",
  "bits",
  "min",
  "max",
  "bucketSize",
  "wildcardProjection",
  "storageEngine",
  "clustered",
]);

function cannot(why: string): never {
  throw new CommandError("CannotCreateIndex", why);
}

function checkKey(key: Doc): void {
  const fields = Object.keys(key);
  if (!fields.length) cannot("Index keys cannot be empty.");
  let hashed = 0;
  for (const name of fields) {
    const value = key[name];
    if (typeof value === "string") {
      if (value === "hashed") {
        hashed++;
        continue;
      }
      if (["text", "2d", "2dsphere"].includes(value)) {
        throw new CommandError("NotImplemented", `Index type '${value}' is not supported`);
      }
      cannot(`Unknown index plugin '${value}'`);
    }
    if (!isNum(value)) {
      cannot(
        `Values in v:2 index key pattern cannot be of type ${
          typeof value === "boolean" ? "bool" : "object"
        }. Only numbers > 0, numbers < 0, and strings are allowed.`,
      );
    }
    const number = toNumber(value);
    if (!(number > 0 || number < 0)) {
      cannot("Values in the index key pattern cannot be 0.");
    }
    if (name === "") cannot("Index keys cannot be an empty field.");
    if (name.includes("$**")) {
      throw new CommandError("NotImplemented", "Wildcard indexes are not supported");
    }
    const parts = name.split(".");
    if (parts.some((part) => part === "")) cannot("Index keys cannot contain an empty field.");
    if (parts.some((part) => part[0] === "$" && !["$id", "$ref", "$db"].includes(part))) {
      cannot(
        "Index key contains an illegal field name: field name starts with '$'.",
      );
    }
  }
  if (hashed > 1) {
    throw new CommandError(
      "Location31303",
      `A maximum of one index field is allowed to be hashed but found ${hashed} for 'key' ${
        shellText(key)
      }`,
    );
  }
}

function checkExpiry(key: Doc, value: unknown): void {
  if (!isNum(value)) {
    cannot(
      `TTL index 'expireAfterSeconds' option must be numeric, but received a type of '${typeof value}'`,
    );
  }
  const seconds = toNumber(value);
  if (seconds < 0 || seconds > 2147483647) {
    cannot("TTL index 'expireAfterSeconds' option must be withStringOrder an acceptable range");
  }
  const fields = Object.keys(key);
  if (fields.length > 1) {
    cannot("TTL indexes are single-field indexes, compound indexes do not support TTL");
  }
  if (fields[0] === "_id") cannot("The field 'expireAfterSeconds' is not valid for an _id index");
}

/**
 * Is there such an index already?
 * @throws CommandError IndexKeySpecsConflict, IndexOptionsConflict when one of the same name or key differs
 */
export function existingIndex(collection: Collection, spec: IndexSpec): boolean {
  const isId = equal(spec.key, { _id: 1 });
  if (isId) return true;
  if (spec.name === "_id_") {
    throw new CommandError(
      "BadValue",
      `The index name '_id_' is reserved for the _id index, which must have key pattern {_id: 1}, found key: ${
        shellText(spec.key)
      }`,
    );
  }
  for (const { spec: other } of collection.indexes) {
    const sameKey = equal(other.key, spec.key);
    const sameOptions = equal(signature(other), signature(spec));
    if (other.name === spec.name) {
      if (sameKey && sameOptions) return true;
      throw new CommandError(
        "IndexKeySpecsConflict",
        `An existing index has the same name as the requested index. When index names are not specified, they are auto generated and can cause conflicts. Please refer to our documentation. Requested index: ${
          shellText(spec)
        }, existing index: ${shellText(other)}`,
      );
    }
    const samePartial = equal(
      other.partialFilterExpression ?? null,
      spec.partialFilterExpression ?? null,
    );
    const sameCollation = equal(other.collation ?? null, spec.collation ?? null);
    if (sameKey && samePartial && sameCollation) {
      throw new CommandError(
        "IndexOptionsConflict",
        sameOptions
          ? `Index already exists with a different name: ${other.name}`
          : `An equivalent index already exists with a different name and options. Requested index: ${
            shellText(spec)
          }, existing index: ${shellText(other)}`,
      );
    }
  }
  return false;
}

function signature(spec: IndexSpec): Doc {
  return {
    unique: !!spec.unique,
    sparse: !!spec.sparse,
    expire: spec.expireAfterSeconds ?? null,
    partial: spec.partialFilterExpression ?? null,
    collation: spec.collation ?? null,
  };
}

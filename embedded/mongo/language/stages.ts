/**
 * Pipeline stages over BSON's types, in place of mingo's of the same names: those that compare, group and join values.
 * https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
 * @module
 */
import { Aggregator } from "mingo/aggregator";
import { evalExpr } from "mingo/core";
import { Lazy } from "mingo/lazy";
import * as mingoStages from "mingo/operators/pipeline";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { compare, isDoc, typeName } from "../values/compare.ts";
import { isTrue } from "../values/field_checks.ts";
import { Identities } from "../values/identities.ts";
import { isNum, toNumber } from "../values/numbers.ts";
import { namedFields } from "./field_tree.ts";
import { compileFilter } from "./matcher.ts";
import { walkPath } from "./paths.ts";
import { graphLookup } from "./pattern_operators.ts";
import { sortOrder } from "./sort_order.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
type Stage = (input: Any, expr: Any, options: Any) => Any;
const mingo = mingoStages as unknown as Record<string, Stage>;

const match: Stage = (input, expr, options) => {
  if (!isDoc(expr)) {
    throw new CommandError("Location15959", "the match filter must be an expression in an object");
  }
  const expression = (value: unknown) => (doc: Doc) =>
    isTrue(evalExpr(doc as Any, value as Any, options));
  return input.filter(compileFilter(expr, { expression }));
};

const sort: Stage = (input, expr, _options) => {
  if (!isDoc(expr)) {
    throw new CommandError("Location15973", "the $sort key specification must be an object");
  }
  if (!Object.keys(expr).length) {
    throw new CommandError("Location15976", "$sort stage must have at least one sort key");
  }
  for (const direction of Object.values(expr)) {
    if (isDoc(direction)) {
      throw new CommandError("NotImplemented", "Sorting by $meta is not supported");
    }
    if (!isNum(direction) || Math.abs(toNumber(direction)) !== 1) {
      throw new CommandError(
        "Location15975",
        "$sort key ordering must be 1 (for ascending) or -1 (for descending)",
      );
    }
  }
  const order = sortOrder(expr);
  return input.transform((docs: Doc[]) =>
    Lazy(
      docs.map((doc) => ({ doc, keys: order.keys(doc) }))
        .sort((a, b) => order.compare(a.keys, b.keys))
        .map(({ doc }) => doc),
    )
  );
};

const group: Stage = (input, expr, options) => {
  if (!isDoc(expr)) {
    throw new CommandError("Location15947", "a group's fields must be specified in an object");
  }
  if (!("_id" in expr)) {
    throw new CommandError("Location15955", "a group specification must include an _id");
  }
  const { _id, ...fields } = expr;
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    if (!isDoc(value)) {
      throw new CommandError("Location40234", `The field '${name}' must be an accumulator object`);
    }
    if (Object.keys(value).length !== 1) {
      throw new CommandError("Location40238", `The field '${name}' must specify one accumulator`);
    }
  }
  const idOf = (doc: Doc) => evalExpr(doc as Any, _id as Any, options) as unknown;
  return input.transform((docs: Doc[]) => Lazy(grouped(docs, idOf, fields, options)));
};

function grouped(docs: Doc[], idOf: (doc: Doc) => unknown, fields: Doc, options: Any): Doc[] {
  const identities = new Identities();
  const groups = new Map<string, { id: unknown; docs: Doc[] }>();
  for (const doc of docs) {
    const id = idOf(doc);
    const key = identities.of(id);
    const known = groups.get(key);
    if (known) known.docs.push(doc);
    else groups.set(key, { id: id ?? null, docs: [doc] });
  }
  return [...groups.values()].map(({ id, docs: members }) => {
    const result: Doc = { _id: id };
    for (const name of Object.keys(fields)) {
      result[name] = evalExpr(members as Any, fields[name] as Any, options);
    }
    return result;
  });
}

const bucket: Stage = (input, expr, options) => {
  const boundaries = evalExpr({}, expr.boundaries, options) as unknown;
  if (!Array.isArray(boundaries) || boundaries.length < 2) {
    throw new CommandError(
      "Location40192",
      "The $bucket 'boundaries' field must have at least 2 values",
    );
  }
  for (let i = 1; i < boundaries.length; i++) {
    if (compare(boundaries[i - 1], boundaries[i]) >= 0) {
      throw new CommandError(
        "Location40194",
        "The 'boundaries' option to $bucket must be sorted in ascending order",
      );
    }
  }
  const idOf = (doc: Doc) => {
    const value = evalExpr(doc as Any, expr.groupBy, options) as unknown;
    const after = boundaries.findIndex((boundary) => compare(value, boundary) < 0);
    if (after > 0) return boundaries[after - 1];
    if ("default" in expr) return evalExpr({}, expr.default, options) as unknown;
    throw new CommandError(
      "Location40066",
      "$switch could not find a matching branch for an input, and no default was specified.",
    );
  };
  const fields = (expr.output ?? { count: { $sum: 1 } }) as Doc;
  return input.transform((docs: Doc[]) =>
    Lazy(grouped(docs, idOf, fields, options).sort((a, b) => compare(a._id, b._id)))
  );
};

const sortByCount: Stage = (input, expr, options) =>
  sort(group(input, { _id: expr, count: { $sum: 1 } }, options), { count: -1 }, options);

/**
 * Sort the fields of a `$project`: `{ a: { b: 1 } }` becomes the flag `a.b`; what is neither a flag nor a level of fields is
 * an expression to compute.
 */
function flatten(spec: Doc, prefix: string, flags: Doc, computed: [string, unknown][]): void {
  for (const name of Object.keys(spec)) {
    const value = spec[name];
    const path = prefix + name;
    if (isNum(value) || typeof value === "boolean") flags[path] = value;
    else if (isDoc(value) && Object.keys(value)[0]?.[0] !== "$") {
      if (!Object.keys(value).length) {
        throw new CommandError(
          "Location51270",
          `Invalid $project :: caused by :: An empty sub-projection is not a valid value. Found empty object at path`,
        );
      }
      flatten(value, `${path}.`, flags, computed);
    } else computed.push([path, value]);
  }
}

// mingo's has the fields in alphabetical order and changes the documents that it gets.
const project: Stage = (input, expr, options) => {
  if (!isDoc(expr)) {
    throw new CommandError("Location15969", "$project specification must be an object");
  }
  if (!Object.keys(expr).length) {
    throw new CommandError(
      "Location51272",
      "projection specification must have at least one field",
    );
  }
  const flags: Doc = {};
  const computed: [string, unknown][] = [];
  flatten(expr, "", flags, computed);
  for (const [, value] of computed) checkOperator(value, options);
  const excluded = Object.keys(flags).find((name) => name !== "_id" && !isTrue(flags[name]));
  if (excluded !== undefined && computed.length) {
    throw new CommandError(
      "Location31254",
      `Invalid $project :: caused by :: Cannot do exclusion on field ${excluded} in inclusion projection`,
    );
  }
  // A computed field makes it an inclusion, also where only `_id` is named.
  const include = namedFields(computed.length ? { ...flags, [NOTHING]: 1 } : flags);
  return input.map((doc: Doc) => {
    const target = include(doc);
    for (const [path, value] of computed) {
      const result = evalExpr(doc as Any, value as Any, options) as unknown;
      if (result !== undefined) setField(target, path.split("."), result);
    }
    return target;
  });
};

/** A field that no document has. */
const NOTHING = "\0";

function checkOperator(value: unknown, options: Any): void {
  const name = isDoc(value) ? Object.keys(value)[0]! : "";
  if (name[0] !== "$") return;
  const known = ["expression", "accumulator"]
    .some((type) => options.context.getOperator(type, name));
  if (!known) {
    throw new CommandError(
      "Location31325",
      `Invalid $project :: caused by :: Unknown expression ${name}`,
    );
  }
}

const unset: Stage = (input, expr, _options) => {
  const names = Array.isArray(expr) ? expr : [expr];
  for (const name of names) {
    if (typeof name !== "string" || name === "") {
      throw new CommandError("Location31002", "$unset specification must be a string or an array");
    }
  }
  return input.map(namedFields(Object.fromEntries(names.map((name: string) => [name, 0]))));
};

function numericStage(name: string, code: "Location5107201" | "Location5107200"): Stage {
  return (input, expr, options) => {
    const number = isNum(expr) ? toNumber(expr) : NaN;
    const least = name === "$limit" ? 1 : 0;
    if (!Number.isInteger(number) || number < least) {
      if (name === "$limit" && number === 0) {
        throw new CommandError("Location15958", "the limit must be positive");
      }
      throw new CommandError(
        code,
        `invalid argument to ${name} stage: Expected a ${
          least ? "positive" : "non-negative"
        } number in: ${name}: ${isNum(expr) ? number : typeName(expr)}`,
      );
    }
    if (name === "$skip") return mingo.$skip!(input, number, options);
    // Not mingo's, which reads all the rest.
    let left = number;
    return Lazy(() => left-- > 0 ? input.next() : { done: true });
  };
}

const count: Stage = (input, expr, options) => {
  const valid = typeof expr === "string" && expr.trim() !== "" && !/^\$|\./.test(expr);
  if (!valid) return mingo.$count!(input, expr, options);
  // Not mingo's, which holds all documents to count them, and counts none as zero.
  let done = false;
  return Lazy(() => {
    const n = done ? 0 : input.reduce((sum: number) => sum + 1, 0);
    done = true;
    return n ? { value: { [expr as string]: n }, done: false } : { done: true };
  });
};

/** At most this many documents are joined through an index one by one; one pass over the others is faster for more. */
const BY_INDEX = 1000;

function checkLookup({ from, localField, foreignField, as, pipeline }: Any): void {
  const wrong = (message: string) => new CommandError("FailedToParse", message);
  if (typeof as !== "string") throw wrong("must specify 'as' field for a $lookup");
  if (typeof from !== "string" && !Array.isArray(pipeline)) {
    throw wrong("missing 'from' option to $lookup stage specification");
  }
  if (
    (localField === undefined) !== (foreignField === undefined) ||
    (!pipeline && localField === undefined)
  ) {
    throw wrong(
      "$lookup requires both or neither of 'localField' and 'foreignField' to be specified",
    );
  }
}

/** Finds the documents of the other collection that belong to one of this. */
function foreignDocuments(
  { from, localField, foreignField }: Any,
  options: Any,
): (doc: Doc) => Doc[] {
  const { indexed } = options.collectionResolver ?? {};
  let foreign: Doc[] | undefined;
  const all = () =>
    foreign ??= typeof from === "string" ? options.collectionResolver(from) as Doc[] : [];
  if (foreignField === undefined) return all;
  const identities = new Identities();
  let byKey: Map<string, Doc[]> | undefined;
  let looked = 0;
  return (doc) => {
    const found = indexed && !byKey && looked++ < BY_INDEX
      ? indexed(from, foreignField, fieldValues(doc, localField)) as Doc[] | undefined
      : undefined;
    if (found) return found;
    byKey ??= keyed(all(), foreignField, identities);
    return joined(doc, localField, byKey, identities);
  };
}

const lookup: Stage = (input, expr, options) => {
  checkLookup(expr);
  const { as, pipeline } = expr;
  const variables = expr.let;
  const foreign = foreignDocuments(expr, options);
  return input.map((doc: Doc) => {
    let candidates = foreign(doc);
    if (pipeline) {
      const scope = evalExpr(doc as Any, variables ?? {}, options) as Doc;
      const inner = {
        ...options.options,
        variables: { ...options.variables, ...options.local?.variables, ...scope },
      };
      candidates = new Aggregator(pipeline, inner).run(candidates as Any) as Doc[];
    }
    const result = { ...doc };
    setField(result, as.split("."), [...candidates]);
    return result;
  });
};

/** Set a field at a path; documents on the way are copied, as they belong to the input. */
function setField(target: Doc, path: string[], value: unknown): void {
  const [name, ...rest] = path as [string, ...string[]];
  if (!rest.length) target[name] = value;
  else {
    const below = isDoc(target[name]) ? { ...(target[name] as Doc) } : {};
    setField(below, rest, value);
    target[name] = below;
  }
}

function fieldValues(doc: Doc, path: string): unknown[] {
  const values: unknown[] = [];
  walkPath(doc, path.split("."), true, (value) => {
    if (!Array.isArray(value)) values.push(value ?? null);
    return false;
  });
  return values.length ? values : [null];
}

function fieldKeys(doc: Doc, path: string, identities: Identities): Set<string> {
  return new Set(fieldValues(doc, path).map((value) => identities.of(value)));
}

function keyed(docs: Doc[], path: string, identities: Identities): Map<string, Doc[]> {
  const map = new Map<string, Doc[]>();
  for (const doc of docs) {
    for (const key of fieldKeys(doc, path, identities)) {
      const list = map.get(key);
      if (list) list.push(doc);
      else map.set(key, [doc]);
    }
  }
  return map;
}

function joined(
  doc: Doc,
  path: string,
  byKey: Map<string, Doc[]>,
  identities: Identities,
): Doc[] {
  const found = new Set<Doc>();
  for (const key of fieldKeys(doc, path, identities)) {
    for (const other of byKey.get(key) ?? []) found.add(other);
  }
  return [...found];
}

/** Stages, by name. */
export const stageOperators: Record<string, Stage> = {
  $match: match,
  $sort: sort,
  $group: group,
  $bucket: bucket,
  $sortByCount: sortByCount,
  $project: project,
  $unset: unset,
  $limit: numericStage("$limit", "Location5107201"),
  $count: count,
  $skip: numericStage("$skip", "Location5107200"),
  $lookup: lookup,
  $graphLookup: graphLookup,
};

/**
 * The query language: a filter document becomes a predicate on decoded documents.
 *
 * Written on BSON values rather than taken from mingo, whose comparisons know JavaScript's types only:
 * a filter must agree with the index keys to the last type, or an index would change a result. Expressions
 * (`$expr`) are mingo's.
 * https://www.mongodb.com/docs/manual/reference/operator/query/
 * @module
 */
import type { BSONRegExp } from "bson";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { activeOrder } from "../values/collation.ts";
import { compare, equal, isDoc, RANK, rankOf, typeName } from "../values/compare.ts";
import { isTrue } from "../values/field_checks.ts";
import { isNum, type Num, toNumber } from "../values/numbers.ts";
import { bitsTest } from "./bits.ts";
import { compileSchema } from "./json_schema.ts";
import { field, walkPath } from "./paths.ts";
import { compilePattern, regexOf } from "./regex.ts";

/** Tests a decoded document. */
export type Predicate = (doc: Doc) => boolean;
type ValueTest = (value: unknown) => boolean;

/** What a filter may need from outside: the evaluation of `$expr`. */
export interface MatchContext {
  /** Compiles an aggregation expression to a test; absent where expressions are not allowed. */
  expression?: (expression: unknown) => Predicate;
}

function bad(message: string): CommandError {
  return new CommandError("BadValue", message);
}

/**
 * Compile a filter.
 * @throws CommandError BadValue and others, as the server words them
 */
export function compileFilter(filter: Doc, context: MatchContext = {}): Predicate {
  const tests: Predicate[] = [];
  for (const name of Object.keys(filter)) {
    const condition = filter[name];
    if (name[0] === "$") {
      const test = topLevel(name, condition, context);
      if (test) tests.push(test);
    } else tests.push(...fieldTests(name, condition, context));
  }
  if (tests.length === 1) return tests[0]!;
  return (doc) => {
    for (const test of tests) if (!test(doc)) return false;
    return true;
  };
}

function topLevel(name: string, value: unknown, context: MatchContext): Predicate | undefined {
  switch (name) {
    case "$and":
    case "$or":
    case "$nor": {
      if (!Array.isArray(value)) throw bad(`${name} must be an array`);
      if (!value.length) throw bad("$and/$or/$nor must be a nonempty array");
      const branches = value.map((branch) => {
        if (!isDoc(branch)) throw bad("$or/$and/$nor entries need to be full objects");
        return compileFilter(branch, context);
      });
      if (name === "$and") return (doc) => branches.every((test) => test(doc));
      if (name === "$or") return (doc) => branches.some((test) => test(doc));
      return (doc) => !branches.some((test) => test(doc));
    }
    case "$expr":
      if (!context.expression) throw bad("$expr is not allowed in this context");
      return context.expression(value);
    case "$comment":
      return undefined;
    case "$alwaysTrue":
      return () => true;
    case "$alwaysFalse":
      return () => false;
    case "$jsonSchema":
      return compileSchema(value);
    case "$where":
    case "$text":
      throw new CommandError("NotImplemented", `${name} is not supported by the embedded store`);
    default:
      throw bad(
        `unknown top level operator: ${name}. If you have a field name that starts with a '$' symbol, ` +
          "consider using $getField or $setField.",
      );
  }
}

/** True for `{ $gt: 1 }`, false for a document to compare with. */
export function isOperatorDoc(value: unknown): value is Doc {
  if (!isDoc(value)) return false;
  const first = Object.keys(value)[0];
  return first !== undefined && first[0] === "$" && first !== "$ref" && first !== "$id" &&
    first !== "$db";
}

function fieldTests(path: string, condition: unknown, context: MatchContext): Predicate[] {
  const parts = path.split(".");
  if (!isOperatorDoc(condition)) return [leaf(parts, equalityTest(condition))];
  return Object.keys(condition).flatMap((operator) => {
    const test = fieldTest(parts, operator, condition[operator], condition, context);
    return test ? [test] : [];
  });
}

/**
 * Tests the values that a path leads to.
 * @param expand whether an array at the end is tested element by element too
 */
function leaf(parts: string[], test: ValueTest, expand = true): Predicate {
  if (parts.length === 1) {
    // The commonest case, without closures per document.
    const name = parts[0]!;
    return (doc) => {
      const value = field(doc, name);
      if (expand && Array.isArray(value)) {
        for (const item of value) if (test(item)) return true;
      }
      return test(value);
    };
  }
  return (doc) => walkPath(doc, parts, expand, test);
}

function not(test: Predicate): Predicate {
  return (doc) => !test(doc);
}

function fieldTest(
  parts: string[],
  operator: string,
  operand: unknown,
  all: Doc,
  context: MatchContext,
): Predicate | undefined {
  switch (operator) {
    case "$eq":
      return leaf(parts, plainEquality(operand));
    case "$ne":
      if (rankOf(operand) === RANK.regex) throw bad("Can't have regex as arg to $ne.");
      return not(leaf(parts, plainEquality(operand)));
    case "$gt":
    case "$gte":
    case "$lt":
    case "$lte":
      if (rankOf(operand) === RANK.regex) {
        throw bad(`Can't have RegEx as arg to predicate over field '${parts.join(".")}'.`);
      }
      return leaf(parts, rangeTest(operator, operand));
    case "$in":
      return leaf(parts, inTest("$in", operand));
    case "$nin":
      return not(leaf(parts, inTest("$nin", operand)));
    case "$exists": {
      const exists = leaf(parts, (value) => value !== undefined, false);
      return isTrue(operand) ? exists : not(exists);
    }
    case "$type":
      return leaf(parts, typeTest(operand));
    case "$not":
      return notTest(parts, operand, context);
    case "$regex":
      return leaf(parts, regexTest(regexOf(operand, all.$options)));
    case "$options":
      if (!("$regex" in all)) throw bad("$options needs a $regex");
      return undefined;
    case "$mod":
      return leaf(parts, modTest(operand));
    case "$size":
      return leaf(parts, sizeTest(operand), false);
    case "$all":
      return allTest(parts, operand, context);
    case "$elemMatch": {
      const test = elemMatchTest(operand, context);
      return leaf(parts, (value) => Array.isArray(value) && value.some(test), false);
    }
    case "$bitsAllSet":
    case "$bitsAllClear":
    case "$bitsAnySet":
    case "$bitsAnyClear":
      return leaf(parts, bitsTest(operator, operand));
    case "$comment":
      return undefined;
    case "$near":
    case "$nearSphere":
    case "$geoWithin":
    case "$geoIntersects":
    case "$text":
      throw new CommandError(
        "NotImplemented",
        `${operator} is not supported by the embedded store`,
      );
    default:
      throw bad(`unknown operator: ${operator}`);
  }
}

function equalityTest(operand: unknown): ValueTest {
  return rankOf(operand) === RANK.regex ? regexTest(regexOf(operand)) : plainEquality(operand);
}

function plainEquality(operand: unknown): ValueTest {
  if (typeof operand === "string") {
    return (value) =>
      value === operand ||
      ((typeof value === "object" || activeOrder() !== undefined) && value !== undefined &&
        equal(value, operand));
  }
  if (operand === null) return (value) => value === undefined || value === null;
  return (value) => value !== undefined && equal(value, operand);
}

function rangeTest(operator: string, operand: unknown): ValueTest {
  const rank = rankOf(operand);
  const orEqual = operator === "$gte" || operator === "$lte";
  const up = operator[1] === "g";
  if (rank === RANK.null) return (value) => orEqual && (value === undefined || value === null);
  const any = rank === RANK.minKey || rank === RANK.maxKey;
  const nan = isNum(operand) && Number.isNaN(toNumber(operand));
  return (value) => {
    if (value === undefined) return false;
    // Comparisons stay withStringOrder one type, except with the two ends of the order.
    if (!any && rankOf(value) !== rank) return false;
    if (rank === RANK.number) {
      const other = Number.isNaN(toNumber(value as Num));
      if (nan || other) return orEqual && nan && other;
    }
    const order = compare(value, operand);
    return order === 0 ? orEqual : up ? order > 0 : order < 0;
  };
}

function inTest(name: string, operand: unknown): ValueTest {
  if (!Array.isArray(operand)) throw bad(`${name} needs an array`);
  if (operand.some(isOperatorDoc)) throw bad(`cannot nest $ under ${name}`);
  const tests = operand.map(equalityTest);
  const strings = new Set(operand.filter((item) => typeof item === "string"));
  if (strings.size === operand.length) {
    return (value) =>
      typeof value === "string" &&
      (strings.has(value) || (activeOrder() !== undefined && tests.some((test) => test(value))));
  }
  return (value) => tests.some((test) => test(value));
}

const TYPE_CODES: Record<number, string> = {
  1: "double",
  2: "string",
  3: "object",
  4: "array",
  5: "binData",
  6: "undefined",
  7: "objectId",
  8: "bool",
  9: "date",
  10: "null",
  11: "regex",
  12: "dbPointer",
  13: "javascript",
  14: "symbol",
  15: "javascriptWithScope",
  16: "int",
  17: "timestamp",
  18: "long",
  19: "decimal",
  [-1]: "minKey",
  127: "maxKey",
};
const TYPE_NAMES = new Set([...Object.values(TYPE_CODES), "number"]);

function typeTest(operand: unknown): ValueTest {
  const wanted = new Set<string>();
  const list = Array.isArray(operand) ? operand : [operand];
  if (!list.length) throw new CommandError("FailedToParse", "$type must match at least one type");
  for (const item of list) {
    const name = isNum(item) ? TYPE_CODES[toNumber(item)] : item;
    if (typeof name !== "string") {
      throw bad(
        isNum(item)
          ? `Invalid numerical type code: ${item}`
          : "type must be represented as a number or a string",
      );
    }
    if (!TYPE_NAMES.has(name)) throw bad(`Unknown type name alias: ${name}`);
    for (const type of name === "number" ? ["int", "long", "double", "decimal"] : [name]) {
      wanted.add(type);
    }
  }
  return (value) => value !== undefined && wanted.has(typeName(value));
}

function notTest(parts: string[], operand: unknown, context: MatchContext): Predicate {
  if (rankOf(operand) === RANK.regex) return not(leaf(parts, regexTest(regexOf(operand))));
  if (!isDoc(operand)) throw bad("$not needs a regex or a document");
  if (!Object.keys(operand).length) throw bad("$not cannot be empty");
  if (!isOperatorDoc(operand)) {
    throw bad(`unknown operator: ${Object.keys(operand)[0]}`);
  }
  const tests = fieldTests(parts.join("."), operand, context);
  return (doc) => !tests.every((test) => test(doc));
}

function regexTest(regex: BSONRegExp): ValueTest {
  const pattern = compilePattern(regex);
  return (value) => {
    if (typeof value === "string") return pattern.test(value);
    if (typeof value !== "object" || value === null) return false;
    const rank = rankOf(value);
    if (rank === RANK.string) return pattern.test(String(value));
    return rank === RANK.regex && equal(value, regex);
  };
}

function modTest(operand: unknown): ValueTest {
  if (!Array.isArray(operand)) throw bad("malformed mod, needs to be an array");
  if (operand.length < 2) throw bad("malformed mod, not enough elements");
  if (operand.length > 2) throw bad("malformed mod, too many elements");
  const [divisor, remainder] = operand.map((item) =>
    isNum(item) ? Math.trunc(toNumber(item)) : 0
  ) as [number, number];
  if (!isNum(operand[0])) throw bad("malformed mod, divisor not a number");
  if (!isNum(operand[1])) throw bad("malformed mod, remainder not a number");
  if (!Number.isFinite(divisor)) throw bad("malformed mod, divisor value is invalid");
  if (!Number.isFinite(remainder)) throw bad("malformed mod, remainder value is invalid");
  if (divisor === 0) throw bad("divisor cannot be 0");
  const [by, rest] = operand.map(whole) as [bigint, bigint];
  const small = Number.isSafeInteger(divisor) && Number.isSafeInteger(remainder);
  return (value) => {
    if (!isNum(value)) return false;
    const number = Math.trunc(toNumber(value));
    if (small && Number.isSafeInteger(number)) return number % divisor === remainder;
    return Number.isFinite(number) && whole(value) % by === rest;
  };
}

function whole(value: Num): bigint {
  return typeof value === "bigint" ? value : BigInt(Math.trunc(toNumber(value)));
}

function sizeTest(operand: unknown): ValueTest {
  if (!isNum(operand)) throw bad("$size must be a whole number");
  const size = toNumber(operand);
  if (!Number.isInteger(size)) throw bad("$size must be a whole number");
  if (size < 0) throw bad("$size may not be negative");
  return (value) => Array.isArray(value) && value.length === size;
}

function allTest(parts: string[], operand: unknown, context: MatchContext): Predicate {
  if (!Array.isArray(operand)) throw bad("$all needs an array");
  const tests = operand.map((item): Predicate => {
    if (isDoc(item) && "$elemMatch" in item) {
      return fieldTest(parts, "$elemMatch", item.$elemMatch, item, context)!;
    }
    if (isOperatorDoc(item)) throw bad("no $ expressions in $all");
    return leaf(parts, equalityTest(item));
  });
  return (doc) => tests.length > 0 && tests.every((test) => test(doc));
}

/** The test that `$elemMatch` makes on each element. */
export function elemMatchTest(operand: unknown, context: MatchContext = {}): ValueTest {
  if (!isDoc(operand)) throw bad("$elemMatch needs an Object");
  if (isOperatorDoc(operand) && !/^\$(and|or|nor|expr|where)$/.test(Object.keys(operand)[0]!)) {
    // Value form: the conditions apply to the element itself.
    const tests = fieldTests("v", operand, context);
    return (value) => tests.every((test) => test({ v: value }));
  }
  const test = compileFilter(operand, context);
  return (value) => {
    if (isDoc(value)) return test(value);
    // An array as element is matched by its positions, as the server does.
    return Array.isArray(value) && test({ ...value } as unknown as Doc);
  };
}

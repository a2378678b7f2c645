/**
 * Expression operators and accumulators over BSON's types, in place of mingo's of the same names, which know
 * JavaScript's numbers only. They are registered first, and the first of a name wins.
 * https://www.mongodb.com/docs/manual/reference/operator/aggregation/
 * @module
 */
import { Decimal128, Double } from "bson";
import { evalExpr } from "mingo/core";
import * as mingoAccumulators from "mingo/operators/accumulator";
import * as mingoExpressions from "mingo/operators/expression";
import { CommandError } from "../errors.ts";
import { compare, equal, isDoc, typeName } from "../values/compare.ts";
import { CONVERSION_CODES, CONVERSIONS } from "../values/conversions.ts";
import { Identities } from "../values/identities.ts";
import { asLong, combine, double, isNum, kindOf, type Num, toNumber } from "../values/numbers.ts";
import { patternOperators } from "./pattern_operators.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
type Operator = (obj: Any, expr: Any, options: Any) => unknown;

function wrong(name: string, value: unknown): CommandError {
  return new CommandError(
    "TypeMismatch",
    `${name} only supports numeric types, not ${typeName(value)}`,
  );
}

/** Evaluate the operands of an operator that takes a list, or one value. */
function operands(obj: Any, expr: Any, options: Any): unknown[] {
  const value = evalExpr(obj, expr, options);
  return Array.isArray(expr) ? value as unknown[] : [value];
}

function isMissing(value: unknown): boolean {
  return value === null || value === undefined;
}

function fold(name: string, op: "+" | "*"): Operator {
  return (obj, expr, options) => {
    let total: Num = op === "+" ? 0 : 1;
    let date = false;
    for (const value of operands(obj, expr, options)) {
      if (isMissing(value)) return null;
      if (op === "+" && value instanceof Date) {
        if (date) {
          throw new CommandError("TypeMismatch", "only one date allowed in an $add expression");
        }
        date = true;
        total = combine(total, BigInt(value.getTime()), "+")!;
      } else if (isNum(value)) {
        total = combine(total, value, op) ?? (toNumber(total) + toNumber(value));
      } else throw wrong(name, value);
    }
    return date ? new Date(toNumber(total)) : total;
  };
}

function negated(value: Num): Num {
  return combine(value, -1, "*") ?? -toNumber(value);
}

const subtract: Operator = (obj, expr, options) => {
  const [a, b] = operands(obj, expr, options);
  if (isMissing(a) || isMissing(b)) return null;
  if (a instanceof Date && b instanceof Date) return BigInt(a.getTime() - b.getTime());
  if (a instanceof Date && isNum(b)) return new Date(a.getTime() - toNumber(b));
  if (!isNum(a) || !isNum(b)) {
    throw new CommandError("TypeMismatch", `can't $subtract ${typeName(b)} from ${typeName(a)}`);
  }
  return combine(a, negated(b), "+") ?? (toNumber(a) - toNumber(b));
};

const divide: Operator = (obj, expr, options) => {
  const [a, b] = operands(obj, expr, options);
  if (isMissing(a) || isMissing(b)) return null;
  if (!isNum(a) || !isNum(b)) {
    throw new CommandError(
      "TypeMismatch",
      `$divide only supports numeric types, not ${typeName(a)} and ${typeName(b)}`,
    );
  }
  if (toNumber(b) === 0) throw new CommandError("BadValue", "can't $divide by zero");
  const value = toNumber(a) / toNumber(b);
  return isDecimal(a, b) ? Decimal128.fromString(String(value)) : double(value);
};

const mod: Operator = (obj, expr, options) => {
  const [a, b] = operands(obj, expr, options);
  if (isMissing(a) || isMissing(b)) return null;
  if (!isNum(a) || !isNum(b)) {
    throw new CommandError(
      "Location16611",
      `$mod only supports numeric types, not ${typeName(a)} and ${typeName(b)}`,
    );
  }
  if (toNumber(b) === 0) throw new CommandError("Location16610", "can't $mod by zero");
  if (typeof a === "bigint" || typeof b === "bigint") {
    const whole = [a, b].every((value) => ["int", "long"].includes(kindOf(value)));
    if (whole) return BigInt(a as bigint) % BigInt(b as bigint);
  }
  const value = toNumber(a) % toNumber(b);
  if (isDecimal(a, b)) return Decimal128.fromString(String(value));
  return kindOf(a) === "int" && kindOf(b) === "int" ? value + 0 : double(value);
};

function isDecimal(...values: Num[]): boolean {
  return values.some((value) => kindOf(value) === "decimal");
}

/** A function of one number that keeps its type. */
function keeping(name: string, work: (value: number) => number): Operator {
  return (obj, expr, options) => {
    const [value] = operands(obj, expr, options);
    if (isMissing(value)) return null;
    if (!isNum(value)) throw wrong(name, value);
    return ofKind(
      value,
      work(toNumber(value)),
      () => work === Math.abs && toNumber(value) < 0 ? negated(value) : value,
    );
  };
}

function ofKind(like: Num, value: number, long: () => Num): Num {
  switch (kindOf(like)) {
    case "int":
      return (value | 0) === value ? value | 0 : BigInt(value);
    case "long":
      return long();
    case "double":
      return double(value);
    default:
      return Decimal128.fromString(String(value));
  }
}

/** `$round` rounds half to even, `$trunc` towards zero, at a decimal place. */
function rounding(name: string, work: (value: number) => number): Operator {
  return (obj, expr, options) => {
    const [value, places] = operands(obj, expr, options);
    if (isMissing(value)) return null;
    if (!isNum(value)) throw wrong(name, value);
    const digits = isNum(places) ? toNumber(places) : 0;
    const number = toNumber(value);
    if (!Number.isFinite(number)) return value;
    if (digits >= 0 && ["int", "long"].includes(kindOf(value))) return value;
    // Moving the point in text spares 1.005 * 100 = 100.49999999999999.
    const shifted = work(
      Number(`${number.toExponential().replace(/e.*/, "")}e${exponentOf(number) + digits}`),
    );
    const result = Number(`${shifted}e${-digits}`);
    return ofKind(value, result, () => asLong(BigInt(result)) ?? result);
  };
}

function exponentOf(value: number): number {
  return Number(value.toExponential().split("e")[1]);
}

function halfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

// In expressions a missing value is less than null, and more than MinKey only.
function order(a: unknown, b: unknown): number {
  if (a === undefined || b === undefined) {
    if (a === b) return 0;
    const other = a === undefined ? b : a;
    const sign = typeName(other) === "minKey" ? 1 : -1;
    return a === undefined ? sign : -sign;
  }
  return Math.sign(compare(a, b));
}

function comparing(test: (order: number) => boolean | number): Operator {
  return (obj, expr, options) => {
    const [a, b] = operands(obj, expr, options);
    return test(order(a, b));
  };
}

const isIn: Operator = (obj, expr, options) => {
  const [value, list] = operands(obj, expr, options);
  if (!Array.isArray(list)) {
    throw new CommandError(
      "Location40081",
      `$in requires an array as a second argument, found: ${typeName(list)}`,
    );
  }
  return list.some((item) => equal(item, value));
};

/** A value as mingo's own operators take it: JavaScript numbers only. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint" || value instanceof Double || value instanceof Decimal128) {
    return toNumber(value);
  }
  if (Array.isArray(value)) return value.map(plain);
  return value;
}

/** One of mingo's operators, given plain numbers; its result made a double where the server's is one. */
function unboxed(operator: Operator, isDouble: boolean): Operator {
  return (obj, expr, options) => {
    const evaluated = plain(evalExpr(obj, expr, options));
    const literal = Array.isArray(evaluated) && Array.isArray(expr)
      ? evaluated.map((item) => ({ $literal: item }))
      : { $literal: evaluated };
    const result = operator(obj, literal, options);
    return isDouble && typeof result === "number" ? double(result) : result;
  };
}

function notConverted(value: unknown, name: string): CommandError {
  return new CommandError(
    "ConversionFailure",
    `Failed to convert ${typeName(value)} to ${name} in $convert with no onError value`,
  );
}

function conversion(name: string): Operator {
  return (obj, expr, options) => {
    const [value] = operands(obj, expr, options);
    if (isMissing(value)) return null;
    const result = CONVERSIONS[name]!(value);
    if (result === undefined) throw notConverted(value, name);
    return result;
  };
}

const convert: Operator = (obj, expr, options) => {
  const input = evalExpr(obj, expr.input, options);
  if (isMissing(input)) return evalExpr(obj, expr.onNull ?? null, options);
  const to = evalExpr(obj, expr.to, options) as unknown;
  const wanted = isDoc(to) ? to.type : to;
  const name = isNum(wanted) ? CONVERSION_CODES[toNumber(wanted)] : wanted as string;
  if (name === undefined || !Object.hasOwn(CONVERSIONS, name)) {
    throw new CommandError("BadValue", `Unknown type name: ${name}`);
  }
  const result = CONVERSIONS[name]!(input);
  if (result !== undefined) return result;
  if (expr.onError !== undefined) return evalExpr(obj, expr.onError, options);
  throw notConverted(input, name);
};

const all = mingoExpressions as unknown as Record<string, Operator>;
/** mingo's, which give a double. */
const DOUBLES =
  ("$exp $ln $log $log10 $sqrt $sin $cos $tan $asin $acos $atan $atan2 $sinh $cosh $tanh " +
    "$asinh $acosh $atanh $degreesToRadians $radiansToDegrees").split(" ");
/** mingo's, which are right once they get plain numbers. */
const PLAIN = "$pow $substr $substrBytes $substrCP $bitAnd $bitOr $bitXor $bitNot".split(" ");

// A client's `{ $range: [0, 1e12] }` must not take this process's memory.
const MAX_RANGE = 4_000_000;

const range: Operator = (obj, expr, options) => {
  const [from, to, step = 1] = operands(obj, expr, options).map(plain) as number[];
  if (Math.abs((to! - from!) / step) > MAX_RANGE) {
    throw new CommandError(
      "ExceededMemoryLimit",
      `$range would make more than ${MAX_RANGE} numbers`,
    );
  }
  return unboxed(all.$range!, false)(obj, expr, options);
};

/** Operators of mingo by name, given plain numbers; those that this version of mingo has. */
function given(names: string[], isDouble: boolean): Record<string, Operator> {
  const known = names.filter((name) => all[name]);
  return Object.fromEntries(known.map((name) => [name, unboxed(all[name]!, isDouble)]));
}

/** Expression operators, by name. */
export const expressionOperators: Record<string, Operator> = {
  ...given(DOUBLES, true),
  ...given(PLAIN, false),
  ...patternOperators,
  $range: range,
  $add: fold("$add", "+"),
  $multiply: fold("$multiply", "*"),
  $subtract: subtract,
  $divide: divide,
  $mod: mod,
  $abs: keeping("$abs", Math.abs),
  $ceil: keeping("$ceil", Math.ceil),
  $floor: keeping("$floor", Math.floor),
  $round: rounding("$round", halfToEven),
  $trunc: rounding("$trunc", Math.trunc),
  $eq: comparing((order) => order === 0),
  $ne: comparing((order) => order !== 0),
  $gt: comparing((order) => order > 0),
  $gte: comparing((order) => order >= 0),
  $lt: comparing((order) => order < 0),
  $lte: comparing((order) => order <= 0),
  $cmp: comparing((order) => order),
  $in: isIn,
  $type: (obj, expr, options) => typeName(evalExpr(obj, expr, options)),
  $isNumber: (obj, expr, options) => isNum(evalExpr(obj, expr, options)),
  $convert: convert,
  $toInt: conversion("int"),
  $toLong: conversion("long"),
  $toDouble: conversion("double"),
  $toDecimal: conversion("decimal"),
  $toBool: conversion("bool"),
  $toDate: conversion("date"),
  $toString: conversion("string"),
  $toObjectId: conversion("objectId"),
};

const mingo = mingoAccumulators as unknown as Record<
  string,
  (list: Any[], expr: Any, options: Any) => unknown
>;

/** The values of an accumulator's expression over its documents; `undefined` where the field is missing. */
function values(list: Any[], expr: Any, options: Any): unknown[] {
  if (expr === null || expr === undefined) {
    // As an expression over one array, `{ $sum: [ "$list" ] }`.
    return list.length === 1 && Array.isArray(list[0]) ? list[0] : list;
  }
  // mingo does not export the class of its options, and making them anew per document is slow.
  const own = options.constructor.init(options);
  return list.map((root) => evalExpr(root, expr, own.update({ root })) as unknown);
}

function present(value: unknown): boolean {
  return value !== undefined;
}

function extreme(sign: number) {
  return (list: Any[], expr: Any, options: Any) => {
    let best: unknown = null;
    for (const value of values(list, expr, options)) {
      if (isMissing(value)) continue;
      if (best === null || compare(value, best) * sign > 0) best = value;
    }
    return best;
  };
}

function total(list: unknown[]): Num {
  let sum: Num = 0;
  for (const value of list) {
    if (isNum(value)) sum = combine(sum, value, "+") ?? double(toNumber(sum) + toNumber(value));
  }
  return sum;
}

/** Accumulators, by name. */
export const accumulatorOperators: Record<
  string,
  (list: Any[], expr: Any, options: Any) => unknown
> = {
  $sum: (list, expr, options) =>
    isNum(expr) ? combine(expr, list.length, "*") : total(values(list, expr, options)),
  $avg: (list, expr, options) => {
    const numbers = values(list, expr, options).filter(isNum);
    if (!numbers.length) return null;
    const sum = total(numbers);
    const mean = toNumber(sum) / numbers.length;
    return kindOf(sum) === "decimal" ? Decimal128.fromString(String(mean)) : double(mean);
  },
  $min: extreme(-1),
  $max: extreme(1),
  $addToSet: (list, expr, options) => {
    const identities = new Identities();
    const found = new Map<string, unknown>();
    for (const value of values(list, expr, options).filter(present)) {
      const key = identities.of(value);
      if (!found.has(key)) found.set(key, value);
    }
    return [...found.values()];
  },
  $push: (list, expr, options) => values(list, expr, options).filter(present),
  $stdDevPop: (list, expr, options) =>
    deviation(mingo.$stdDevPop!, values(list, expr, options), options),
  $stdDevSamp: (list, expr, options) =>
    deviation(mingo.$stdDevSamp!, values(list, expr, options), options),
};

function deviation(work: Any, list: unknown[], options: Any): unknown {
  const result = work(list.filter(isNum).map(plain), null, options);
  return typeof result === "number" ? double(result) : result;
}

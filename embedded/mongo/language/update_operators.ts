/**
 * The update operators, each as: what is at the path, what becomes of it.
 *
 * Not mingo's: those work on JavaScript's types, and where the server refuses (`$inc` of a string) they do nothing.
 * https://www.mongodb.com/docs/manual/reference/operator/update/
 * @module
 */
import { Timestamp } from "bson";
import { CommandError } from "../errors.ts";
import type { Doc } from "../values/bson_view.ts";
import { compare, equal, isDoc, RANK, rankOf, typeName } from "../values/compare.ts";
import { combine, isNum, kindOf, type Num, toNumber } from "../values/numbers.ts";
import { shellText } from "../values/shell_text.ts";
import { compileFilter, isOperatorDoc } from "./matcher.ts";
import { sortOrder } from "./sort_order.ts";
import { documentName } from "./update_paths.ts";

/** What becomes of the value at `path`; `undefined` stands for a missing one, before and after. */
export type Change = (value: unknown, doc: Doc, path: string) => unknown;
/** Checks an operator's operand and makes its change. */
type Operator = (operand: unknown, path: string) => Change;

function bad(message: string): CommandError {
  return new CommandError("BadValue", message);
}

function arithmetic(name: string, op: "+" | "*"): Operator {
  return (operand, path) => {
    if (!isNum(operand)) {
      throw new CommandError(
        "TypeMismatch",
        `Cannot ${op === "+" ? "increment" : "multiply"} with non-numeric argument: {${path}: ${
          shellText(operand)
        }}`,
      );
    }
    return (value, doc) => {
      if (value === undefined) return op === "+" ? operand : combine(operand, 0, "*");
      if (!isNum(value)) {
        throw new CommandError(
          "TypeMismatch",
          `Cannot apply ${name} to a value of non-numeric type. ${
            documentName(doc)
          } has the field '${path.split(".").at(-1)}' of non-numeric type ${typeName(value)}`,
        );
      }
      const result = combine(value, operand, op);
      if (result === undefined) {
        throw bad(
          `Failed to apply ${name} operations to current value ((NumberLong)${value}) for document ${
            documentName(doc)
          }`,
        );
      }
      return result;
    };
  };
}

function arrayOf(value: unknown, doc: Doc, path: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw bad(
    `The field '${path}' must be an array but is of type ${typeName(value)} in document ${
      documentName(doc)
    }`,
  );
}

const push: Operator = (operand) => {
  if (!isDoc(operand) || !("$each" in operand)) {
    if (isDoc(operand) && isOperatorDoc(operand)) {
      const known = ["$position", "$slice", "$sort"].some((name) => name in operand);
      if (known) throw bad("Unrecognized clause in $push without $each");
    }
    return (value, doc, path) =>
      value === undefined ? [operand] : [...arrayOf(value, doc, path), operand];
  }
  const { $each, $position, $slice, $sort, ...rest } = operand;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw bad(`Unrecognized clause in $push: ${unknown}`);
  if (!Array.isArray($each)) {
    throw bad(
      `The argument to $each in $push must be an array but it was of type: ${typeName($each)}`,
    );
  }
  const position = whole($position, "The value for $position must be an integer value");
  const slice = whole($slice, "The value for $slice must be an integer value");
  const order = pushOrder($sort);
  return (value, doc, path) => {
    let list = value === undefined ? [] : [...arrayOf(value, doc, path)];
    list.splice(position ?? list.length, 0, ...$each);
    if (order) list.sort(order);
    if (slice !== undefined) {
      list = slice === 0 ? [] : slice > 0 ? list.slice(0, slice) : list.slice(slice);
    }
    return list;
  };
};

function whole(value: unknown, message: string): number | undefined {
  if (value === undefined) return undefined;
  if (!isNum(value) || !Number.isInteger(toNumber(value))) {
    throw bad(`${message} but was given type: ${typeName(value)}`);
  }
  return toNumber(value);
}

function pushOrder(sort: unknown): ((a: unknown, b: unknown) => number) | undefined {
  if (sort === undefined) return undefined;
  if (isNum(sort)) {
    const direction = toNumber(sort);
    if (Math.abs(direction) !== 1) throw bad("The $sort element value must be either 1 or -1");
    return (a, b) => compare(a, b) * direction;
  }
  if (!isDoc(sort)) {
    throw bad(
      "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields",
    );
  }
  const order = sortOrder(sort);
  const keys = (value: unknown) => order.keys(isDoc(value) ? value : {});
  return (a, b) => order.compare(keys(a), keys(b));
}

const addToSet: Operator = (operand) => {
  let items = [operand];
  if (isDoc(operand) && "$each" in operand) {
    const { $each, ...rest } = operand;
    const other = Object.keys(rest)[0];
    if (other !== undefined) {
      throw bad(`Found unexpected fields after $each in $addToSet: ${shellText(operand)}`);
    }
    if (!Array.isArray($each)) {
      throw new CommandError(
        "TypeMismatch",
        `The argument to $each in $addToSet must be an array but it was of type ${typeName($each)}`,
      );
    }
    items = $each;
  }
  return (value, doc, path) => {
    const list = value === undefined ? [] : [...arrayForSet(value, doc, path)];
    for (const item of items) if (!list.some((other) => equal(other, item))) list.push(item);
    return list;
  };
};

function arrayForSet(value: unknown, doc: Doc, path: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw bad(
    `Cannot apply $addToSet to non-array field. Field named '${
      path.split(".").at(-1)
    }' has non-array type ${typeName(value)} in document ${documentName(doc)}`,
  );
}

const pop: Operator = (operand) => {
  if (!isNum(operand)) {
    throw new CommandError(
      "FailedToParse",
      `Expected a number in: ${shellText(operand)}`,
    );
  }
  const direction = toNumber(operand);
  if (Math.abs(direction) !== 1) {
    throw new CommandError("FailedToParse", `$pop expects 1 or -1, found: ${shellText(operand)}`);
  }
  return (value, _doc, path) => {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) {
      throw new CommandError(
        "TypeMismatch",
        `Path '${path}' contains an element of non-array type '${typeName(value)}'`,
      );
    }
    return direction < 0 ? value.slice(1) : value.slice(0, -1);
  };
};

function removing(name: string, test: (item: unknown) => boolean): Change {
  return (value) => {
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw bad(`Cannot apply ${name} to a non-array value`);
    return value.filter((item) => !test(item));
  };
}

const pull: Operator = (operand) => {
  if (isDoc(operand) && !isOperatorDoc(operand)) {
    const test = compileFilter(operand);
    return removing("$pull", (item) => isDoc(item) && test(item));
  }
  if (isDoc(operand) || rankOf(operand) === RANK.regex) {
    const test = compileFilter({ v: operand });
    return removing("$pull", (item) => test({ v: item }));
  }
  return removing("$pull", (item) => equal(item, operand));
};

const pullAll: Operator = (operand) => {
  if (!Array.isArray(operand)) {
    throw bad(`$pullAll requires an array argument but was given a ${typeName(operand)}`);
  }
  return removing("$pullAll", (item) => operand.some((other) => equal(item, other)));
};

let increment = 0;

/** A new internal timestamp. */
export function newTimestamp(): Timestamp {
  increment = (increment + 1) & 0x7fffffff;
  return new Timestamp({ t: Math.floor(Date.now() / 1000), i: increment });
}

const currentDate: Operator = (operand) => {
  const type = isDoc(operand)
    ? operand.$type
    : operand === true || operand === false
    ? "date"
    : undefined;
  if (type !== "date" && type !== "timestamp") {
    throw bad(
      isDoc(operand)
        ? "The '$type' string field is required to be 'date' or 'timestamp': {$currentDate: {field : {$type: 'date'}}}"
        : `${
          typeName(operand)
        } is not valid type for $currentDate. Please use a boolean ('true') or a $type expression ({$type: 'timestamp/date'}).`,
    );
  }
  return () => type === "date" ? new Date() : newTimestamp();
};

const bit: Operator = (operand) => {
  const entries = isDoc(operand) ? Object.entries(operand) : [];
  if (!entries.length) throw bad("The $bit modifier is not compatible with a non-document");
  for (const [name, number] of entries) {
    if (!["and", "or", "xor"].includes(name)) {
      throw bad(
        `The $bit modifier only supports 'and', 'or', and 'xor', not '${name}' which is an unknown operator: {${name}: ${
          shellText(number)
        }}`,
      );
    }
    if (!isNum(number) || !["int", "long"].includes(kindOf(number))) {
      throw bad(
        `The $bit modifier field must be an Integer(32/64 bit); a '${
          typeName(number)
        }' is not supported here: {${name}: ${shellText(number)}}`,
      );
    }
  }
  return (value, doc, path) => {
    let current = (value ?? 0) as Num;
    if (!isNum(current) || !["int", "long"].includes(kindOf(current))) {
      throw bad(
        `Cannot apply $bit to a value of non-integral type.${
          documentName(doc)
        } has the field ${path} of non-integer type ${typeName(value)}`,
      );
    }
    for (const [name, number] of entries) {
      const wide = typeof current === "bigint" || typeof number === "bigint";
      const [a, b] = [BigInt(toNumberOrLong(current)), BigInt(toNumberOrLong(number as Num))];
      const result = name === "and" ? a & b : name === "or" ? a | b : a ^ b;
      current = wide ? BigInt.asIntN(64, result) : Number(BigInt.asIntN(32, result));
    }
    return current;
  };
};

function toNumberOrLong(value: Num): number | bigint {
  return typeof value === "bigint" ? value : toNumber(value);
}

/** The operators that change one path from one operand. `$rename` and `$setOnInsert` are the updater's. */
export const UPDATE_OPERATORS: Record<string, Operator> = {
  $set: (operand) => () => operand,
  $unset: () => () => undefined,
  $inc: arithmetic("$inc", "+"),
  $mul: arithmetic("$mul", "*"),
  $min: (operand) => (value) =>
    value === undefined || compare(operand, value) < 0 ? operand : value,
  $max: (operand) => (value) =>
    value === undefined || compare(operand, value) > 0 ? operand : value,
  $push: push,
  $addToSet: addToSet,
  $pop: pop,
  $pull: pull,
  $pullAll: pullAll,
  $currentDate: currentDate,
  $bit: bit,
};

/**
 * Conversions between types, as `$convert`, `$toInt` and their like make them.
 * https://www.mongodb.com/docs/manual/reference/operator/aggregation/convert/
 * @module
 */
import { Decimal128, Double, ObjectId } from "bson";
import { asLong, double, isNum, toNumber } from "./numbers.ts";

function numeric(value: unknown): number | undefined {
  if (isNum(value)) return toNumber(value);
  if (typeof value === "boolean") return Number(value);
  if (value instanceof Date) return value.getTime();
  if (typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value))) {
    return Number(value);
  }
  return undefined;
}

/** By the name of the type: the converted value, or undefined when it cannot be converted. */
export const CONVERSIONS: Record<string, (value: unknown) => unknown> = {
  int: (value) => {
    const number = numeric(value);
    const whole = number === undefined ? NaN : Math.trunc(number);
    return (whole | 0) === whole ? whole | 0 : undefined;
  },
  long: (value) => {
    if (typeof value === "bigint") return value;
    const number = numeric(value);
    return number === undefined || !Number.isFinite(number)
      ? undefined
      : asLong(BigInt(Math.trunc(number)));
  },
  double: (value) => {
    const number = numeric(value);
    return number === undefined ? undefined : double(number);
  },
  decimal: (value) => {
    if (value instanceof Decimal128) return value;
    const number = numeric(value);
    return number === undefined ? undefined : Decimal128.fromString(
      typeof value === "string" || typeof value === "bigint" ? String(value) : String(number),
    );
  },
  bool: (value) => isNum(value) ? toNumber(value) !== 0 : Boolean(value),
  date: (value) => {
    if (value instanceof Date) return value;
    if (value instanceof ObjectId) return value.getTimestamp();
    const date = isNum(value) ? new Date(toNumber(value)) : new Date(String(value));
    return Number.isNaN(date.getTime()) ? undefined : date;
  },
  string: (value) => {
    if (typeof value === "string") return value;
    if (value instanceof ObjectId) return value.toHexString();
    if (value instanceof Date) return value.toISOString();
    if (isNum(value)) return value instanceof Double ? String(value.value) : String(value);
    return typeof value === "boolean" ? String(value) : undefined;
  },
  objectId: (value) => {
    if (value instanceof ObjectId) return value;
    return typeof value === "string" && /^[0-9a-f]{24}$/i.test(value)
      ? new ObjectId(value)
      : undefined;
  },
};
/** The numbers that `$convert` takes for names. */
export const CONVERSION_CODES: Record<number, string> = {
  1: "double",
  2: "string",
  7: "objectId",
  8: "bool",
  9: "date",
  16: "int",
  18: "long",
  19: "decimal",
};

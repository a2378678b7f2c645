/**
 * Whether a value counts as true, and the error of one that is of the wrong type.
 * @module
 */
import { CommandError } from "../errors.ts";
import { typeName } from "./compare.ts";
import { isNum, toNumber } from "./numbers.ts";

/** True as expressions and `$exists` mean it: everything but false, zero, null and missing. */
export function isTrue(value: unknown): boolean {
  if (isNum(value)) return toNumber(value) !== 0;
  return value !== false && value !== null && value !== undefined;
}

/** A boolean option of a command; a number counts as true unless it is zero, null and missing as `fallback`. */
export function flag(value: unknown, fallback = false): boolean {
  if (value === undefined || value === null) return fallback;
  if (isNum(value)) return toNumber(value) !== 0;
  return Boolean(value);
}

/** The error of a field of the wrong type. */
export function wrongType(name: string, value: unknown, expected: string): CommandError {
  return new CommandError(
    "TypeMismatch",
    `BSON field '${name}' is the wrong type '${typeName(value)}', expected type '${expected}'`,
  );
}

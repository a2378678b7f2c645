/**
 * The bitwise query operators.
 * https://www.mongodb.com/docs/manual/reference/operator/query-bitwise/
 * @module
 */
import { Binary } from "bson";
import { CommandError } from "../errors.ts";
import { isNum, kindOf, toNumber } from "../values/numbers.ts";

function bad(message: string): CommandError {
  return new CommandError("BadValue", message);
}

/** The test of `$bitsAllSet` and its like. */
export function bitsTest(operator: string, operand: unknown): (value: unknown) => boolean {
  let mask = 0n;
  if (Array.isArray(operand)) {
    for (const bit of operand) {
      if (!isNum(bit) || toNumber(bit) < 0) throw bad("bit positions must be >= 0");
      mask |= 1n << BigInt(Math.min(toNumber(bit), 4096));
    }
  } else if (isNum(operand)) {
    const number = toNumber(operand);
    if (!Number.isInteger(number) || number < 0) {
      throw new CommandError("FailedToParse", `Expected a non-negative number in: ${operator}`);
    }
    mask = BigInt(number);
  } else if (operand instanceof Binary) mask = bitsOf(operand);
  else throw bad(`${operator} takes an Array, a number, or a BinData`);
  return (value) => {
    let bits: bigint;
    if (value instanceof Binary) bits = bitsOf(value);
    else if (isNum(value) && Number.isInteger(toNumber(value))) {
      bits = kindOf(value) === "long" ? value as bigint : BigInt(toNumber(value));
    } else return false;
    switch (operator) {
      case "$bitsAllSet":
        return (bits & mask) === mask;
      case "$bitsAllClear":
        return (bits & mask) === 0n;
      case "$bitsAnySet":
        return (bits & mask) !== 0n;
      default:
        return (bits & mask) !== mask;
    }
  };
}

function bitsOf(binary: Binary): bigint {
  let bits = 0n;
  for (let i = binary.position - 1; i >= 0; i--) bits = (bits << 8n) | BigInt(binary.buffer[i]!);
  return bits;
}

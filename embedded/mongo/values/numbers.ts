/**
 * The four number types of BSON, as `bson_view` decodes them: which one a value is, exact comparison
 * across them, and arithmetic that promotes as the server does.
 * @module
 */
import { Decimal128, Double } from "bson";

/** A decoded number. */
export type Num = number | bigint | Double | Decimal128;
/** Its BSON type. */
export type NumKind = "int" | "long" | "double" | "decimal";

const MIN_LONG = -(2n ** 63n);
const MAX_LONG = 2n ** 63n - 1n;

/** True for every value that is a BSON number. */
export function isNum(value: unknown): value is Num {
  if (typeof value === "number" || typeof value === "bigint") return true;
  return typeof value === "object" && (value instanceof Double || value instanceof Decimal128);
}

/** The BSON type of a number. */
export function kindOf(value: Num): NumKind {
  if (typeof value === "number") {
    return (value | 0) === value && !Object.is(value, -0) ? "int" : "double";
  }
  if (typeof value === "bigint") return "long";
  return value instanceof Double ? "double" : "decimal";
}

/** A number as the nearest JavaScript number. */
export function toNumber(value: Num): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Double) return value.value;
  return Number(value.toString());
}

/** A double, boxed where a bare number would be taken for an Int32. */
export function double(value: number): number | Double {
  return (value | 0) === value && !Object.is(value, -0) ? new Double(value) : value;
}

/** An exact decimal: `digits * 10^exponent`. */
export interface Exact {
  digits: bigint;
  exponent: number;
}

/** The exact decimal value of a finite number of any type. */
export function exactOf(value: Num): Exact {
  if (typeof value === "bigint") return { digits: value, exponent: 0 };
  if (value instanceof Decimal128) return exactOfText(value.toString());
  const number = toNumber(value);
  if (Number.isInteger(number)) return { digits: BigInt(number), exponent: 0 };
  // A double is m * 2^e with e < 0 here, which is m * 5^-e * 10^e exactly.
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  const bits = view.getBigUint64(0);
  const field = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  const mantissa = field === 0 ? fraction : fraction | 0x10000000000000n;
  const power = (field === 0 ? 1 : field) - 1075;
  const digits = mantissa * 5n ** BigInt(-power);
  return { digits: bits >> 63n ? -digits : digits, exponent: power };
}

/** The exact value of decimal text such as `-12.5E+3`. */
function exactOfText(text: string): Exact {
  const [coefficient, exponent] = text.toUpperCase().split("E");
  const [whole, fraction = ""] = coefficient!.split(".");
  return {
    digits: BigInt(`${whole}${fraction}`),
    exponent: (exponent ? Number(exponent) : 0) - fraction.length,
  };
}

function compareExact(a: Exact, b: Exact): number {
  const signA = a.digits > 0n ? 1 : a.digits < 0n ? -1 : 0;
  const signB = b.digits > 0n ? 1 : b.digits < 0n ? -1 : 0;
  if (signA !== signB || signA === 0) return signA - signB;
  // Sizes first: 10^6000 is not a number to compute for a comparison.
  const sizeA = String(a.digits).length + a.exponent;
  const sizeB = String(b.digits).length + b.exponent;
  if (Math.abs(sizeA - sizeB) > 2) return (sizeA < sizeB ? -1 : 1) * signA;
  const shift = Math.min(a.exponent, b.exponent);
  const x = a.digits * 10n ** BigInt(a.exponent - shift);
  const y = b.digits * 10n ** BigInt(b.exponent - shift);
  return x < y ? -1 : x > y ? 1 : 0;
}

/** MongoDB's order of numbers: by value whatever the type, NaN first and equal to itself. */
export function compareNums(a: Num, b: Num): number {
  if (typeof a === "number" && typeof b === "number") {
    if (a < b) return -1;
    if (a > b) return 1;
    if (a === b) return 0;
  }
  const x = toNumber(a);
  const y = toNumber(b);
  if (Number.isNaN(x) || Number.isNaN(y)) {
    return Number.isNaN(x) ? (Number.isNaN(y) ? 0 : -1) : 1;
  }
  const finite = isFiniteNum(a) && isFiniteNum(b);
  if (!finite) {
    const p = isFiniteNum(a) ? 0 : x > 0 ? 1 : -1;
    const q = isFiniteNum(b) ? 0 : y > 0 ? 1 : -1;
    return p - q;
  }
  const simple = (v: Num) => typeof v === "number" || v instanceof Double;
  if (simple(a) && simple(b)) return x < y ? -1 : x > y ? 1 : 0;
  if (typeof a === "bigint" && typeof b === "bigint") return a < b ? -1 : a > b ? 1 : 0;
  return compareExact(exactOf(a), exactOf(b));
}

/** False for NaN and the infinities. A huge Decimal128 is finite although its `number` is not. */
export function isFiniteNum(value: Num): boolean {
  if (typeof value === "bigint") return true;
  if (value instanceof Decimal128) return /\d/.test(value.toString());
  return Number.isFinite(toNumber(value));
}

/** A bigint as Int64, or undefined when it does not fit. */
export function asLong(value: bigint): bigint | undefined {
  return value < MIN_LONG || value > MAX_LONG ? undefined : value;
}

function decimal(exact: Exact): Decimal128 {
  let { digits, exponent } = exact;
  // 34 significant digits, rounded half to even, as IEEE 754 decimal128 has.
  let text = String(digits < 0n ? -digits : digits);
  if (text.length > 34) {
    const drop = text.length - 34;
    const unit = 10n ** BigInt(drop);
    const magnitude = digits < 0n ? -digits : digits;
    let rounded = magnitude / unit;
    const rest = (magnitude % unit) * 2n;
    if (rest > unit || (rest === unit && rounded % 2n === 1n)) rounded++;
    digits = digits < 0n ? -rounded : rounded;
    exponent += drop;
    text = String(rounded);
  }
  return Decimal128.fromString(`${digits}E${exponent}`);
}

function decimalOperation(a: Num, b: Num, op: "+" | "*"): Decimal128 {
  if (!isFiniteNum(a) || !isFiniteNum(b)) {
    const value = op === "+" ? toNumber(a) + toNumber(b) : toNumber(a) * toNumber(b);
    return Decimal128.fromString(String(value));
  }
  const x = a instanceof Decimal128 ? exactOf(a) : decimalView(a);
  const y = b instanceof Decimal128 ? exactOf(b) : decimalView(b);
  if (op === "*") {
    return decimal({ digits: x.digits * y.digits, exponent: x.exponent + y.exponent });
  }
  const exponent = Math.min(x.exponent, y.exponent);
  const lift = (e: Exact) => e.digits * 10n ** BigInt(e.exponent - exponent);
  return decimal({ digits: lift(x) + lift(y), exponent });
}

// The server converts a double to a decimal with 15 significant digits.
function decimalView(value: number | bigint | Double): Exact {
  if (typeof value === "bigint" || kindOf(value) === "int") return exactOf(value);
  return exactOfText(toNumber(value).toPrecision(15));
}

/**
 * `a + b` or `a * b` with the server's promotion: decimal over double over long over int; an int that
 * overflows becomes a long.
 * @returns undefined when a long overflows
 */
export function combine(a: Num, b: Num, op: "+" | "*"): Num | undefined {
  const x = kindOf(a);
  const y = kindOf(b);
  if (x === "decimal" || y === "decimal") return decimalOperation(a, b, op);
  const value = op === "+" ? toNumber(a) + toNumber(b) : toNumber(a) * toNumber(b);
  if (x === "double" || y === "double") return double(value);
  if (x === "int" && y === "int") {
    if ((value | 0) === value) return value | 0;
    if (Number.isSafeInteger(value)) return BigInt(value);
  }
  const p = BigInt(a as number | bigint);
  const q = BigInt(b as number | bigint);
  return asLong(op === "+" ? p + q : p * q);
}

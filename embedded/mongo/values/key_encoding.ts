/**
 * Index keys: bytes whose plain byte order is MongoDB's order of the values (`compare.ts`).
 *
 * Each value is its rank in one byte and a payload that says itself where it ends, so that the keys of a
 * compound index are simply joined; a descending field has all its bytes inverted. Values that are equal to MongoDB (1,
 * 1.0, NumberLong(1)) have the same bytes, so that a unique index needs no second look.
 * @module
 */
import {
  type Binary,
  type BSONSymbol,
  ByteUtils,
  type Code,
  type ObjectId,
  type Timestamp,
} from "bson";
import { RANK, rankOf, regexParts } from "./compare.ts";
import { type Exact, exactOf, isFiniteNum, type Num, toNumber } from "./numbers.ts";

let buffer = new Uint8Array(4096);
let view = new DataView(buffer.buffer);
let used = 0;

function reserve(size: number): void {
  if (used + size <= buffer.length) return;
  const larger = new Uint8Array(Math.max(buffer.length * 2, used + size));
  larger.set(buffer.subarray(0, used));
  buffer = larger;
  view = new DataView(buffer.buffer);
}

function byte(value: number): void {
  reserve(1);
  buffer[used++] = value;
}

function raw(bytes: Uint8Array): void {
  reserve(bytes.length);
  buffer.set(bytes, used);
  used += bytes.length;
}

// A zero inside becomes 00 FF, the end is 00 01: so a prefix sorts before what it begins.
function text(value: string): void {
  reserve(value.length * 6 + 2);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code >= 0x80) return textBytes(ByteUtils.fromUTF8(value.slice(i)));
    buffer[used++] = code;
    if (code === 0) buffer[used++] = 0xff;
  }
  buffer[used++] = 0;
  buffer[used++] = 1;
}

function textBytes(bytes: Uint8Array): void {
  reserve(bytes.length * 2 + 2);
  for (const value of bytes) {
    buffer[used++] = value;
    if (value === 0) buffer[used++] = 0xff;
  }
  buffer[used++] = 0;
  buffer[used++] = 1;
}

// IEEE doubles order like integers once the sign bit is flipped, or all bits of a negative one.
function float(value: number): void {
  reserve(8);
  view.setFloat64(used, value === 0 ? 0 : value);
  if (buffer[used]! & 0x80) {
    for (let i = 0; i < 8; i++) buffer[used + i]! ^= 0xff;
  } else buffer[used]! ^= 0x80;
  used += 8;
}

/** The largest double that is not above the exact value. */
function floorDouble(value: Num, exact: Exact): number {
  const near = toNumber(value);
  if (near === Infinity) return Number.MAX_VALUE;
  if (near === -Infinity) return near;
  const other = exactOf(near);
  const shift = Math.min(exact.exponent, other.exponent);
  const gap = (e: Exact) => e.exponent - shift;
  // Both are within a few digits of each other, or one of them is zero: no giant power of ten.
  if (other.digits === 0n) return exact.digits < 0n ? -Number.MIN_VALUE : 0;
  const above = other.digits * 10n ** BigInt(gap(other)) > exact.digits * 10n ** BigInt(gap(exact));
  if (!above) return near;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, near);
  bits.setBigInt64(0, bits.getBigInt64(0) + (near > 0 ? -1n : 1n));
  return bits.getFloat64(0);
}

// What no double holds: the double below it, then a mark, then the digits themselves.
function exactTail(exact: Exact): void {
  let { digits, exponent } = exact;
  const negative = digits < 0n;
  if (negative) digits = -digits;
  while (digits % 10n === 0n) {
    digits /= 10n;
    exponent++;
  }
  const figures = String(digits);
  const start = used;
  reserve(figures.length + 4);
  view.setUint16(used, exponent + figures.length + 0x4000);
  used += 2;
  for (let i = 0; i < figures.length; i++) buffer[used++] = figures.charCodeAt(i);
  buffer[used++] = 0;
  if (negative) { for (let i = start; i < used; i++) buffer[i]! ^= 0xff; }
}

function number(value: Num): void {
  if (typeof value === "number" ? !Number.isNaN(value) : !isBigLike(value)) {
    float(toNumber(value));
    byte(0);
    return;
  }
  if (!isFiniteNum(value)) {
    const special = toNumber(value);
    if (Number.isNaN(special)) {
      raw(new Uint8Array(9)); // NaN sorts before -Infinity, whose first byte is 0
    } else {
      float(special);
      byte(0);
    }
    return;
  }
  const exact = exactOf(value);
  if (exact.digits === 0n) {
    float(0);
    byte(0);
    return;
  }
  const floor = floorDouble(value, exact);
  float(floor);
  if (Number.isFinite(floor) && sameExact(exactOf(floor), exact)) byte(0);
  else {
    byte(1);
    exactTail(exact);
  }
}

// A double needs no look at its digits; an int64 within 53 bits neither.
function isBigLike(value: Exclude<Num, number>): boolean {
  if (typeof value === "bigint") {
    return value > 9007199254740991n || value < -9007199254740991n;
  }
  return value._bsontype === "Decimal128" || Number.isNaN(toNumber(value));
}

function sameExact(a: Exact, b: Exact): boolean {
  const shift = Math.min(a.exponent, b.exponent);
  if (Math.max(a.exponent, b.exponent) - shift > 1100) return false;
  return a.digits * 10n ** BigInt(a.exponent - shift) ===
    b.digits * 10n ** BigInt(b.exponent - shift);
}

function fields(doc: Record<string, unknown>): void {
  for (const name of Object.keys(doc)) {
    const value = doc[name];
    byte(rankOf(value));
    text(name);
    payload(value);
  }
  byte(0);
}

function payload(value: unknown): void {
  switch (rankOf(value)) {
    case RANK.number:
      return number(value as Num);
    case RANK.string:
      return text(String(value as string | BSONSymbol));
    case RANK.object:
      return fields(value as Record<string, unknown>);
    case RANK.array:
      for (const item of value as unknown[]) put(item);
      return byte(0);
    case RANK.binary: {
      const binary = value as Binary;
      reserve(5);
      view.setUint32(used, binary.position);
      used += 4;
      byte(binary.sub_type);
      return raw(binary.buffer.subarray(0, binary.position));
    }
    case RANK.objectId:
      return raw((value as ObjectId).id);
    case RANK.bool:
      return byte(value ? 1 : 0);
    case RANK.date: {
      const time = (value as Date).getTime();
      reserve(8);
      view.setBigInt64(used, Number.isNaN(time) ? 0n : BigInt(time));
      buffer[used]! ^= 0x80;
      used += 8;
      return;
    }
    case RANK.timestamp:
      reserve(8);
      view.setBigUint64(used, BigInt.asUintN(64, (value as Timestamp).toBigInt()));
      used += 8;
      return;
    case RANK.regex: {
      const { pattern, options } = regexParts(value);
      text(pattern);
      return text(options);
    }
    case RANK.code:
      return text((value as Code).code);
    case RANK.codeWithScope:
      text((value as Code).code);
      return fields((value as Code).scope ?? {});
  }
}

function put(value: unknown): void {
  byte(rankOf(value));
  payload(value);
}

/** The key of one value. A missing value (`undefined`) has the key of null. */
export function encodeKey(value: unknown): Uint8Array {
  used = 0;
  put(value);
  return buffer.slice(0, used);
}

/**
 * The key of a compound index entry.
 * @param values one per field
 * @param descending which of them sort downwards
 */
export function encodeKeys(
  values: readonly unknown[],
  descending: readonly boolean[],
): Uint8Array {
  used = 0;
  for (let i = 0; i < values.length; i++) {
    const start = used;
    put(values[i]);
    if (descending[i]) invert(buffer, start, used);
  }
  return buffer.slice(0, used);
}

function invert(bytes: Uint8Array, start: number, end: number): void {
  for (let i = start; i < end; i++) bytes[i]! ^= 0xff;
}

/** The key of an ObjectId given as its 12 bytes, which needs no decoding. */
export function objectIdKey(bytes: Uint8Array, at: number): Uint8Array {
  const key = new Uint8Array(13);
  key[0] = RANK.objectId;
  key.set(bytes.subarray(at, at + 12), 1);
  return key;
}

/** The smallest byte string above every one that begins with `prefix`; undefined when there is none. */
export function afterPrefix(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return undefined;
  const next = prefix.slice(0, length);
  next[length - 1]!++;
  return next;
}

/** Inverted bytes: the key of a descending field. */
export function inverted(key: Uint8Array): Uint8Array {
  const copy = key.slice();
  invert(copy, 0, copy.length);
  return copy;
}

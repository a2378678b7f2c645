/**
 * BSON as this store reads it: validated and taken apart without decoding what nobody asked for.
 *
 * A decoded value keeps its number type, which `bson`'s own decoder does only with a wrapper object around
 * every number. Here: Int32 is an integral `number`; Double is a `number` where that is unambiguous,
 * else (an integral value within 32 bits) a `Double`; Int64 is a `bigint`; the rest are `bson`'s classes.
 * `serialize` of `bson` writes each of these back as the type it came from.
 * Format: https://bsonspec.org/spec.html
 * @module
 */
import {
  Binary,
  BSONRegExp,
  BSONSymbol,
  ByteUtils,
  Code,
  Decimal128,
  Double,
  MaxKey,
  MinKey,
  NumberUtils,
  ObjectId,
  serialize,
  Timestamp,
} from "bson";
import { CommandError } from "../errors.ts";
import { MAX_DEPTH } from "../limits.ts";

/** A decoded document. */
export type Doc = Record<string, unknown>;

function broken(what: string): CommandError {
  return new CommandError("InvalidBSON", `Invalid BSON: ${what}`);
}

/** Little-endian signed 32 bits at `at`. */
export function int32At(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

// The options that `bson` takes: i, l, m, s, u, x.
const REGEX_OPTIONS = [0x69, 0x6c, 0x6d, 0x73, 0x75, 0x78];

/** Bytes taken by the value of `type` at `at`; throws InvalidBSON when it does not fit before `end`. */
function valueSize(type: number, bytes: Uint8Array, at: number, end: number): number {
  let size: number;
  switch (type) {
    case 0x01: // double
    case 0x09: // date
    case 0x11: // timestamp
    case 0x12: // int64
      size = 8;
      break;
    case 0x10:
      size = 4;
      break;
    case 0x08:
      size = 1;
      if (at < end && bytes[at]! > 1) throw broken("a boolean that is neither 0 nor 1");
      break;
    case 0x06:
    case 0x0a:
    case 0xff:
    case 0x7f:
      size = 0;
      break;
    case 0x07:
      size = 12;
      break;
    case 0x13:
      size = 16;
      break;
    case 0x02:
    case 0x0d:
    case 0x0e:
      size = 4 + stringLength(bytes, at, end);
      break;
    case 0x0c:
      size = 4 + stringLength(bytes, at, end) + 12;
      break;
    case 0x05: {
      if (at + 5 > end) throw broken("a truncated binary value");
      const length = int32At(bytes, at);
      if (length < 0) throw broken("a negative binary length");
      size = 5 + length;
      break;
    }
    case 0x03:
    case 0x04:
    case 0x0f:
      if (at + 4 > end) throw broken("a truncated document");
      size = int32At(bytes, at);
      if (size < 5) throw broken("a document length below 5");
      break;
    case 0x0b: {
      const options = cstringEnd(bytes, at, end);
      size = cstringEnd(bytes, options, end) - at;
      for (let i = options; bytes[i] !== 0; i++) {
        if (!REGEX_OPTIONS.includes(bytes[i]!)) {
          throw broken("an unknown regular expression option");
        }
      }
      break;
    }
    default:
      throw broken(`unknown type 0x${type.toString(16)}`);
  }
  if (at + size > end) throw broken("a value that ends after its document");
  return size;
}

function stringLength(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) throw broken("a truncated string");
  const length = int32At(bytes, at);
  if (length < 1 || at + 4 + length > end) throw broken("a string longer than its document");
  if (bytes[at + 3 + length] !== 0) throw broken("a string without its final zero");
  return length;
}

/** Offset just after the zero that ends the C string at `at`. */
function cstringEnd(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && bytes[at] !== 0) at++;
  if (at >= end) throw broken("a name without its final zero");
  return at + 1;
}

/**
 * Check one document completely, so that everything later may trust its lengths.
 * @returns its length in bytes
 * @throws CommandError InvalidBSON; Overflow when nested deeper than `depth`
 */
export function validate(
  bytes: Uint8Array,
  start: number,
  limit: number,
  depth: number = MAX_DEPTH,
): number {
  if (depth <= 0) {
    throw new CommandError("Overflow", `Exceeded the nesting limit of ${MAX_DEPTH} levels`);
  }
  if (start + 5 > limit) throw broken("a truncated document");
  const length = int32At(bytes, start);
  const end = start + length - 1;
  if (length < 5 || end >= limit) throw broken(`a document of ${length} bytes where fewer remain`);
  if (bytes[end] !== 0) throw broken("a document without its final zero");
  let at = start + 4;
  while (at < end) {
    const type = bytes[at]!;
    at = cstringEnd(bytes, at + 1, end);
    const size = valueSize(type, bytes, at, end);
    if (type === 0x03 || type === 0x04) {
      validate(bytes, at, end, depth - 1);
    } else if (type === 0x0f) {
      const code = 4 + stringLength(bytes, at + 4, at + size);
      if (validate(bytes, at + 4 + code, at + size, depth - 1) !== size - 4 - code) {
        throw broken("code with a scope of the wrong length");
      }
    }
    at += size;
  }
  if (at !== end) throw broken("a document that ends early");
  return length;
}

/** Bytes of the value of a BSON type at an offset of a validated document. */
export function sizeOf(type: number, bytes: Uint8Array, at: number): number {
  switch (type) {
    case 0x01:
    case 0x09:
    case 0x11:
    case 0x12:
      return 8;
    case 0x10:
      return 4;
    case 0x08:
      return 1;
    case 0x07:
      return 12;
    case 0x13:
      return 16;
    case 0x02:
    case 0x0d:
    case 0x0e:
      return 4 + int32At(bytes, at);
    case 0x0c:
      return 16 + int32At(bytes, at);
    case 0x05:
      return 5 + int32At(bytes, at);
    case 0x03:
    case 0x04:
    case 0x0f:
      return int32At(bytes, at);
    case 0x0b: {
      let p = at;
      while (bytes[p++] !== 0);
      while (bytes[p++] !== 0);
      return p - at;
    }
    default:
      return 0;
  }
}

/** Where an element lies: offsets of its type byte, of its value, and the end of the value. */
export interface ElementPosition {
  type: number;
  start: number;
  value: number;
  end: number;
}

/** Find a top-level element of a validated document by its UTF-8 name. */
export function findElement(
  bytes: Uint8Array,
  start: number,
  name: Uint8Array,
): ElementPosition | undefined {
  const end = start + int32At(bytes, start) - 1;
  let at = start + 4;
  while (at < end) {
    const begin = at;
    const type = bytes[at++]!;
    let same = true;
    let i = 0;
    for (; bytes[at] !== 0; at++, i++) if (bytes[at] !== name[i]) same = false;
    at++;
    const size = valueSize(type, bytes, at, end);
    if (same && i === name.length) return { type, start: begin, value: at, end: at + size };
    at += size;
  }
  return undefined;
}

// JavaScript's dates end 275,000 years from now; what lies beyond must still sort after what lies before.
function dateOf(milliseconds: bigint): Date {
  const limit = 8.64e15;
  return new Date(Math.max(-limit, Math.min(limit, Number(milliseconds))));
}

function put(target: Doc, name: string, value: unknown): void {
  if (name === "__proto__") {
    Object.defineProperty(target, name, {
      value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  } else target[name] = value;
}

/** Decode the value of `type` at `at`, which ends at `end`, of a validated document. */
export function decodeValue(type: number, bytes: Uint8Array, at: number, end: number): unknown {
  switch (type) {
    case 0x01: {
      const value = NumberUtils.getFloat64LE(bytes, at);
      return (value | 0) === value && !Object.is(value, -0) ? new Double(value) : value;
    }
    case 0x02:
      return ByteUtils.toUTF8(bytes, at + 4, end - 1, false);
    case 0x03:
      return decode(bytes, at);
    case 0x04: {
      const list: unknown[] = [];
      const last = at + int32At(bytes, at) - 1;
      let p = at + 4;
      while (p < last) {
        const itemType = bytes[p]!;
        p = cstringEnd(bytes, p + 1, last);
        const size = valueSize(itemType, bytes, p, last);
        list.push(decodeValue(itemType, bytes, p, p + size));
        p += size;
      }
      return list;
    }
    case 0x05: {
      const subtype = bytes[at + 4]!;
      // Subtype 2 repeats the length inside; `bson` writes that inner length back by itself.
      const from = subtype === 2 && end - at >= 9 ? at + 9 : at + 5;
      return new Binary(bytes.slice(from, end), subtype);
    }
    case 0x07:
      return new ObjectId(bytes.slice(at, at + 12));
    case 0x08:
      return bytes[at] === 1;
    case 0x09:
      return dateOf(NumberUtils.getBigInt64LE(bytes, at));
    case 0x0b: {
      const middle = cstringEnd(bytes, at, end);
      return new BSONRegExp(
        ByteUtils.toUTF8(bytes, at, middle - 1, false),
        ByteUtils.toUTF8(bytes, middle, end - 1, false),
      );
    }
    case 0x0c: {
      const length = int32At(bytes, at);
      return {
        $ref: ByteUtils.toUTF8(bytes, at + 4, at + 3 + length, false),
        $id: new ObjectId(bytes.slice(end - 12, end)),
      };
    }
    case 0x0d:
      return new Code(ByteUtils.toUTF8(bytes, at + 4, end - 1, false));
    case 0x0e:
      return new BSONSymbol(ByteUtils.toUTF8(bytes, at + 4, end - 1, false));
    case 0x0f: {
      const length = int32At(bytes, at + 4);
      return new Code(
        ByteUtils.toUTF8(bytes, at + 8, at + 7 + length, false),
        decode(bytes, at + 8 + length),
      );
    }
    case 0x10:
      return int32At(bytes, at);
    case 0x11:
      return new Timestamp(BigInt.asUintN(64, NumberUtils.getBigInt64LE(bytes, at)));
    case 0x12:
      return NumberUtils.getBigInt64LE(bytes, at);
    case 0x13:
      return new Decimal128(bytes.slice(at, at + 16));
    case 0xff:
      return new MinKey();
    case 0x7f:
      return new MaxKey();
    default: // 0x06 undefined (deprecated) and 0x0a null
      return null;
  }
}

/** Decode a validated document. */
export function decode(bytes: Uint8Array, start = 0): Doc {
  const doc: Doc = {};
  const end = start + int32At(bytes, start) - 1;
  let at = start + 4;
  while (at < end) {
    const type = bytes[at]!;
    const from = at + 1;
    at = cstringEnd(bytes, from, end);
    const size = valueSize(type, bytes, at, end);
    put(doc, ByteUtils.toUTF8(bytes, from, at - 1, false), decodeValue(type, bytes, at, at + size));
    at += size;
  }
  return doc;
}

/** Encode a document, number types as this module decodes them. */
export function encode(doc: Doc): Uint8Array {
  return serialize(doc, { ignoreUndefined: true });
}
